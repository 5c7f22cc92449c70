"""Reads the frames of each segment of a video file with the fastest reader that is right for the file, and pictures.

All times are seconds on the clock that players show, see clock.py. Knows no model and no index.
decord and PyAV deliver the same frames; PyAV is slower, and right for the files that decord gets wrong.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import logging
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidfind.errors import ReaderFailed, UnreadableVideo
from vidfind.media.clock import find_start
from vidfind.media.frames import (
    HDR_TO_LIGHT,
    centre,
    check_regular,
    first_frame,
    fitted_size,
    open_video,
    read_packets,
    to_sdr,
    whole_picture,
)
from vidfind.media.probe import Traits, VideoInfo, examine_once, turns_itself
from vidfind.media.readers.keyframes import read_by_keyframes, read_near
from vidfind.media.readers.pyav import frames_from, read_with_pyav
from vidfind.media.sampling import Sample, Sampling, Segment, View, as_view

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)


def read_clips(
    path: Path,
    segments: Sequence[Segment],
    num_frames: int,
    view: View | int,
    sampling: Sampling = "exact",
    threads: int | None = None,
    device: str = "",
) -> Generator[Sample, None, float | None]:
    """Yields a sample of each segment: T frames of (S, S, 3), uint8, chosen as `sampling` says.

    Pictures are scaled and cut as `view` says. `segments` must be in the order of their times. Memory holds one sample
    and a few decoded frames, however long the video is. Yields fewer samples if the video ends, or cannot be decoded
    further, before a segment begins. Returns the time up to which it could be decoded, or None if that is the end of
    the last segment. Raises UnreadableVideo if there is no frame at all. `device` is the device type that decodes what
    the keyframe reader reads; what the device cannot decode, also in the middle of a file, the processor does.
    """
    if any(later.start < earlier.start for earlier, later in pairwise(segments)):
        raise ValueError("segments must be in the order of their times")
    info, traits = examine_once(path)
    view = as_view(view)
    reader = choose_reader(traits, sampling, view)
    attempts: list[Callable[[Sequence[Segment]], Iterator[Sample]]] = []
    if reader == "decord":
        attempts.append(lambda left: read_with_decord(path, info, left, num_frames, view, threads))
    elif reader == "keyframes":
        quick = partial(read_by_keyframes, path, traits, num_frames=num_frames, view=view, sampling=sampling)
        attempts += [partial(quick, threads=threads or 1, device=one) for one in dict.fromkeys((device, ""))]
    delivered = 0
    for number, read in enumerate(attempts, 1):
        try:
            for sample in read(segments[delivered:]):
                yield sample
                delivered += 1
            return None
        except ReaderFailed as error:
            other = "PyAV" if number == len(attempts) else "the processor"
            log.info("%s: reading it again with %s: %s", path, other, error)
    return (yield from read_with_pyav(path, segments[delivered:], num_frames, view, threads, traits.orientation))


# In these formats keyframes are marked reliably, and decoding can begin at each of them.
SURE_CONTAINERS = {"mov", "matroska", "mpegts", "flv"}
PLAIN_CONTAINERS = {"mov", "matroska"}  # of these, with one clock for all of a file
SURE_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4", "prores", "mjpeg", "flv1"}


def is_sure_of_keyframes(traits: Traits) -> bool:
    """Whether the keyframe reader may try a file. It gives up by itself if the file is odd."""
    is_known = not SURE_CONTAINERS.isdisjoint(traits.container.split(",")) and traits.codec in SURE_CODECS
    return is_known and not traits.has_edits and not traits.is_cut_short


# decord reads the kinds of files for which decord2 3.4 was right with every clip of tests/clips, and PyAV reads all
# others. tests/clips/README.md has the results clip by clip.
DECORD_CONTAINERS = {"mov", "matroska", "flv", "gif"}  # TS: exceptions and hangs; AVI, MPEG-PS: no times; WMV: 24 off
DECORD_CODECS = {"h264", "vp8", "vp9", "av1", "prores", "mjpeg", "gif", "flv1"}  # MPEG-4: 2 off; HEVC: exceptions
NOT_FOR_DECORD: dict[str, Callable[[Traits], bool]] = {
    "container": lambda traits: DECORD_CONTAINERS.isdisjoint(traits.container.split(",")),
    "codec": lambda traits: traits.codec not in DECORD_CODECS,
    "HDR": lambda traits: traits.is_hdr,  # decord does not map the brightness: washed out
    "edit list": lambda traits: traits.has_edits,  # up to 15 frames off: decord shows what was cut away
    "open GOP": lambda traits: traits.has_open_keyframes,  # up to 5 frames off: decord counts broken leading frames
    "cut short": lambda traits: traits.is_cut_short,  # exceptions, or the last frame again and again
    "joined": lambda traits: traits.clock.is_joined,  # decord does not let the time go on
    "no length": lambda traits: traits.has_no_length,  # exceptions
    "display matrix": lambda traits: traits.has_matrix,  # mirrored pictures are shown as they are stored
}


def choose_reader(
    traits: Traits, sampling: Sampling = "exact", view: View | None = None
) -> Literal["keyframes", "decord", "pyav"]:
    """Returns the fastest reader that delivers the right frames of a file with these traits."""
    if sampling != "exact" and is_sure_of_keyframes(traits):
        return "keyframes"
    if view is not None and view.is_bilinear:  # decord knows cubic curves alone
        return "pyav"
    return "pyav" if any(is_wrong(traits) for is_wrong in NOT_FOR_DECORD.values()) else "decord"


def read_frame(path: Path, time: float, near: float, longest: int) -> np.ndarray:
    """Returns a frame of a video that is shown at most `near` seconds before `time`, or at `time`: (H, W, 3) uint8.

    Its long side is at most `longest`. A time after the end gives the last frame. A keyframe so near takes tens of
    milliseconds; `near=0` gives the frame shown at `time`. Raises UnreadableVideo."""
    if near:
        try:
            return _read_at_once(path, time, near, longest)
        except ReaderFailed as error:
            log.debug("%s: looking at it more closely: %s", path, error)
    info, traits = examine_once(path)
    time, start = max(min(time, info.duration), traits.start), traits.clock.start
    if near and is_sure_of_keyframes(traits) and not (traits.clock.is_joined or traits.clock.is_counted):
        try:
            with open_video(path, threads=1, is_quick=True) as (container, stream):
                return read_near(container, stream, start, time, near, longest, traits.orientation)
        except ReaderFailed as error:
            log.debug("%s: reading it again with PyAV: %s", path, error)
    with frames_from(path, time) as frames:
        frames.advance(time)
        return whole_picture(frames.frame, frames.stream, longest, traits.orientation)


def _read_at_once(path: Path, time: float, near: float, longest: int) -> np.ndarray:
    """As `read_frame`, without looking through the file first. Raises ReaderFailed for a file that may need that."""
    with open_video(path, threads=1, is_quick=True) as (container, stream):
        codec = stream.codec_context.codec.canonical_name
        if PLAIN_CONTAINERS.isdisjoint(container.format.name.split(",")) or codec not in SURE_CODECS:
            raise ReaderFailed("its keyframes may be marked wrongly")
        first = next(read_packets(container, stream), None)
        if first is None or turns_itself(first, stream):
            raise ReaderFailed("only its first frame may say how it is turned")
        return read_near(container, stream, find_start(container, stream, None), time, near, longest)


# The readers ---------------------------------------------------------------------------------------------------------


def read_with_decord(
    path: Path,
    info: VideoInfo,
    segments: Sequence[Segment],
    num_frames: int,
    view: View | int,
    threads: int | None = None,
) -> Iterator[Sample]:
    """Like `read_clips`, for files that decord reads right. Raises ReaderFailed, also if decord cannot be imported."""
    try:
        from vidfind.media.readers import decord as decord_reader
    except (ImportError, OSError, RuntimeError) as error:  # OSError: one of its own libraries cannot be loaded
        raise ReaderFailed(f"decord cannot be imported: {error}") from error

    view = as_view(view)
    scaled = view.scaled_size(info.width, info.height)
    yield from decord_reader.read_samples(path, info, scaled, segments, num_frames, view, threads)


# Pictures -------------------------------------------------------------------------------------------------------------

# fmt: off
PICTURE_EXTENSIONS = frozenset((
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".heic", ".heics", ".heif", ".hif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp",
))
RAW_PHOTOS = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srw", ".x3f",
)
# fmt: on
REFUSED_PICTURES = {
    ".jxl": "a JPEG XL picture",
    ".pdf": "a PDF document",
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai"), "a drawing of lines"),
    **dict.fromkeys(RAW_PHOTOS, "a raw photo of a camera"),  # Pillow would read the small preview in it
}
PICTURE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"II*\0", b"MM\0*", b"8BPS", b"\0\0\0\x0cjP  ")
JPEG_STREAMS = {".mjpeg", ".mjpg"}  # videos that begin as a JPEG does
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
ANIMATIONS = {"GIF", "PNG", "WEBP", "AVIF"}  # in other formats, more frames are pages or previews


def is_picture(path: Path) -> bool:
    """Whether a file is a picture and not a video, by its first bytes and its name."""
    suffix = path.suffix.lower()
    if suffix in PICTURE_EXTENSIONS or suffix in REFUSED_PICTURES:
        return True
    head = _head(path)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_plain = suffix not in JPEG_STREAMS and (is_webp or head.startswith(PICTURE_SIGNATURES))
    return is_plain or (head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS | AVIF_BRANDS)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(12)
    except OSError:
        return b""


def read_picture(path: Path, num_frames: int, view: View | int) -> np.ndarray:
    """Returns a clip of a picture, (T, S, S, 3) uint8: upright, and scaled and cut like the frames of a video.

    An animation gives `num_frames` frames from all of it; another picture is the same in all frames. Raises
    UnreadableVideo.
    """
    view = as_view(view)
    with _open_picture(path) as image:
        count = getattr(image, "n_frames", 1) if image.format in ANIMATIONS else 1
        numbers = [count * (2 * i + 1) // (2 * num_frames) for i in range(num_frames)]
        curve = _hdr_curve(image, path)
        shown = {number: _still(image, number, curve, view) for number in sorted(set(numbers))}
    return np.stack([shown[number] for number in numbers])


def read_whole_picture(path: Path, longest: int) -> np.ndarray:
    """Returns a picture upright, (H, W, 3) uint8, with a long side of at most `longest` pixels; of an animation, the
    first. Raises UnreadableVideo."""
    with _open_picture(path) as image:
        curve = _hdr_curve(image, path)
        upright = _upright(image, longest)
        return _scaled(upright, fitted_size(*upright.size, longest), curve)


@contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    """Gives the picture of a file. Raises UnreadableVideo, also for what goes wrong inside."""
    check_regular(path)
    if kind := REFUSED_PICTURES.get(path.suffix.lower()):
        raise UnreadableVideo(f"is {kind}, which cannot be read here. Save it as JPEG or PNG.")
    from PIL import Image

    if _head(path)[8:] in HEIF_BRANDS:
        import pillow_heif  # only here: it takes a quarter of a second

        pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # phones take pictures of 200 million; the memory of a worker is limited
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        what = "is damaged, or no picture of a kind that can be read here"
        raise UnreadableVideo(f"cannot be read as a picture: it {what} ({error}). Save it as JPEG or PNG.") from error


def _still(image: Image.Image, number: int, curve: int | None, view: View) -> np.ndarray:
    """Returns a frame of an open picture as the model sees it, (S, S, 3)."""
    if number:
        image.seek(number)
    upright = _upright(image, view.size)
    return _scaled(
        upright, view.scaled_size(*upright.size), curve, lambda array: centre(array, view.size), view.is_bilinear
    )


def _upright(image: Image.Image, size: int) -> Image.Image:
    """Returns the current frame upright and in RGB, about twice as large as `size` where that is quicker."""
    from PIL import ImageOps

    image.draft(None, (2 * size, 2 * size))  # large JPEG files are decoded smaller, which takes a tenth of the time
    return _as_rgb(ImageOps.exif_transpose(image))


def _scaled(
    image: Image.Image,
    size: tuple[int, int],
    curve: int | None,
    cut: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    is_bilinear: bool = False,
) -> np.ndarray:
    """Returns a picture scaled to width and height and cut, in the colours of SDR; `curve` is that of HDR."""
    from PIL import Image

    method = Image.Resampling.BILINEAR if is_bilinear else Image.Resampling.BICUBIC
    array = cut(np.asarray(image.resize(size, method, reducing_gap=3)))
    return np.ascontiguousarray(array if curve is None else to_sdr(array.astype(np.uint16) * 257, curve))


def _as_rgb(image: Image.Image) -> Image.Image:
    """Returns a picture of any kind with 8 bits for red, green and blue each; white shows where it is transparent."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":  # Pillow would cut off what is over 255
        values = np.asarray(image).astype(np.float32)
        top = next((top for top in (1, 255, 65535) if values.max() <= top), values.max())
        if image.mode != "F":
            top = max(top, 65535 if "16" in image.mode else 255)
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _hdr_curve(image: Image.Image, path: Path) -> int | None:
    """Returns the transfer curve of an HDR picture, as HDR_TO_LIGHT has it; None for others."""
    curve = (image.info.get("nclx_profile") or {}).get("transfer_characteristics")
    if image.format == "AVIF":  # Pillow does not say
        with suppress(UnreadableVideo), open_video(path) as (container, stream):
            curve = first_frame(read_packets(container, stream), stream).color_trc
    return curve if curve in HDR_TO_LIGHT else None
