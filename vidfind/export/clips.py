"""The pipeline of `vidfind export --clips`: each moment becomes a file that begins and ends at its exact frames.

A clip shows at each time what the video shows that long after the moment's start. Never prints; times are in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av

from vidfind.errors import StorageError, UnreadableVideo
from vidfind.export.names import new_file, safe_name
from vidfind.export.picture import PictureEncoder, Pictures
from vidfind.export.sound import Sound, SoundEncoder
from vidfind.export.wanted import EXACT, Wanted
from vidfind.media.frames import open_video
from vidfind.media.probe import VideoInfo, probe

MP4 = {"movflags": "+faststart+use_metadata_tags"}
"""The list of frames at the beginning, so that a clip plays while it is downloaded, and tags of any name."""


@dataclass(frozen=True)
class Progress:
    """How far the work is; `done` and `total` are seconds of clips, `path` is the video at work."""

    path: Path
    number: int
    count: int
    done: float
    total: float


@dataclass(frozen=True)
class Written:
    """A clip that is whole: the file, the moment it is of, and its length.

    `missing` is how many seconds of the moment could not be read, at its end."""

    path: Path
    wanted: Wanted
    duration: float
    missing: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A moment that could not be exported; `reason` follows the name of the video in a sentence."""

    wanted: Wanted
    reason: str


Event = Progress | Written | Failed


def padded(wanted: Iterable[Wanted], seconds: float) -> list[Wanted]:
    """Returns the moments, each longer by so much before and after; not before the start of the video."""
    return [replace(one, start=max(0.0, one.start - seconds), end=one.end + seconds) for one in wanted]


def export_clips(wanted: Sequence[Wanted], folder: Path) -> Iterator[Event]:
    """Writes a clip of each moment into a folder, which is made if it is not there, and yields what happens.

    A video that cannot be read is a Failed, and the others go on. Raises StorageError if the folder cannot be written
    to, or is full."""
    total = sum(one.end - one.start for one in wanted)
    digits = max(2, len(str(len(wanted))))
    done = 0.0
    for number, one in enumerate(wanted, start=1):
        name = f"{number:0{digits}} {clip_name(one)}.mp4"
        try:
            path = one.present_path
            info = probe(path)
            start, end = inside(one, info)
            length = 0.0
            with new_file(folder / name) as (part, placed):
                for length in _write_clip(path, info, start, end, part):
                    yield Progress(path, number, len(wanted), done + length, total)
            missing = end - start - length
            yield Written(placed[0], one, length, missing if missing > 1 / info.frame_rate + EXACT else 0.0)
        except UnreadableVideo as error:
            yield Failed(one, str(error))
        done += one.end - one.start


def clip_name(wanted: Wanted) -> str:
    """Returns a safe name: that of the video, and from when to when.

    >>> clip_name(Wanted(Path("a/dog.mov"), 83.5, 93.5))
    'dog 1m23.5s-1m33.5s'
    """
    times = f"{_spoken(wanted.start)}-{_spoken(wanted.end)}"
    return f"{safe_name(wanted.path.stem, 150)} {times}"


def _spoken(seconds: float) -> str:
    minutes, second = divmod(round(seconds, 2), 60)
    hours, minute = divmod(int(minutes), 60)
    rest = f"{round(second, 2):g}s"
    return f"{hours}h{minute:02}m{rest}" if hours else f"{minute}m{rest}" if minute else rest


def inside(wanted: Wanted, info: VideoInfo) -> tuple[float, float]:
    """Returns start and end of a moment within its video. Raises UnreadableVideo if it begins after the end."""
    if wanted.start >= info.duration:
        raise UnreadableVideo(f"ends at {info.duration:g} s, before the moment begins, at {wanted.start:g} s")
    return wanted.start, min(wanted.end, info.duration)


def _write_clip(path: Path, info: VideoInfo, start: float, end: float, part: Path) -> Iterator[float]:
    """Writes a clip, and yields after each frame how many seconds of it are done."""
    pictures, sound = Pictures(path, start, end), Sound(path, start)
    blocks = sound.samples() if sound.is_there else iter(())
    picture_encoder, sound_encoder, look, origin, stop = None, None, None, 0.0, 0.0
    try:
        with av.open(str(part), "w", format="mp4", container_options=MP4) as container:
            container.metadata.update(kept_metadata(path, info))
            for (frame, begin, until), stream in pictures:
                if look is None or picture_encoder is None:
                    look, origin = pictures.look(frame, stream), begin
                    picture_encoder = PictureEncoder(container, look, stream)
                    if sound.is_there:
                        sound_encoder = SoundEncoder(container, sound.rate, sound.layout)
                stop = until - origin
                container.mux(picture_encoder.encode(pictures.upright(frame, look), begin - origin, stop))
                if sound_encoder:
                    container.mux(list(sound_encoder.encode(blocks, stop, is_end=False)))
                yield stop
            assert picture_encoder is not None
            container.mux(picture_encoder.finish())
            if sound_encoder:
                container.mux(list(sound_encoder.encode(blocks, stop, is_end=True)))
    except av.error.FFmpegError as error:
        raise failure(error, part) from error


def failure(error: av.error.FFmpegError, part: Path) -> StorageError | UnreadableVideo:
    """Returns the error that a failed write of a clip is: of the disk, or of the video."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return StorageError(f"{part.parent} cannot be written to: {os.strerror(error.errno)}.")
    return UnreadableVideo(f"cannot be made a clip of ({error.strerror})")


def kept_metadata(path: Path, info: VideoInfo) -> dict[str, str]:
    """Returns the tags of a clip: those of its video, and when that was filmed."""
    with open_video(path, threads=1, is_quick=True) as (container, _):
        tags = {name: value for name, value in container.metadata.items() if name not in OWN_TAGS}
    return {**tags, "creation_time": info.created.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time"}
"""Tags that are about the file, and not about what was filmed."""
DISK_ERRORS = {28, 5, 30, 13, 122}
"""No room, a failing disk, one for reading only, no permission, a quota."""
