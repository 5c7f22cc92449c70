"""The pipeline of `vidfind export --clips`: each moment becomes a file that begins and ends at its exact frames.

A clip shows at each time what the video shows that long after the moment's start. Never prints; times are in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import av

from vidfind.errors import StorageError, UnreadableVideo
from vidfind.export.copy import Copy, copy_kind
from vidfind.export.names import new_file, safe_name
from vidfind.export.picture import PictureEncoder, Pictures, Shape, shape_of
from vidfind.export.sound import Sound, SoundEncoder
from vidfind.export.wanted import EXACT, Wanted
from vidfind.media.frames import open_video
from vidfind.media.probe import VideoInfo, probe

MP4 = {"movflags": "+faststart+use_metadata_tags"}
"""The list of frames at the beginning, so that a clip plays while it is downloaded, and tags of any name."""


@dataclass(frozen=True)
class Progress:
    """The progress of an export: `done` of `total` seconds of clips are written; `path` is the current video."""

    path: Path
    number: int
    count: int
    done: float
    total: float


@dataclass(frozen=True)
class Written:
    """A complete file, its length in seconds, and its moment (None for a film of several moments).

    `missing` is the number of seconds at the end of the moment that could not be read. `early` and `late` are the
    seconds that the file shows before and after the moment."""

    path: Path
    wanted: Wanted | None
    duration: float
    missing: float = 0.0
    early: float = 0.0
    late: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A moment that could not be exported; `reason` follows the name of the video in a sentence."""

    wanted: Wanted
    reason: str


Event = Progress | Written | Failed


def padded(wanted: Iterable[Wanted], seconds: float) -> list[Wanted]:
    """Returns the moments, each longer by so much before and after; not before the start of the video."""
    return [replace(one, start=max(0.0, one.start - seconds), end=one.end + seconds) for one in wanted]


def export_clips(wanted: Sequence[Wanted], folder: Path, copy: bool = False) -> Generator[Event]:
    """Writes a clip of each moment into a folder, which is made if it is not there, and yields what happens.

    `copy`: without encoding again, from a keyframe to a keyframe. A video that cannot be read is a Failed, and the
    others go on. Raises StorageError if the folder cannot be written to, or is full."""
    total = sum(one.end - one.start for one in wanted)
    digits = max(2, len(str(len(wanted))))
    done = 0.0
    for number, one in enumerate(wanted, start=1):
        try:
            path = one.present_path
            info = probe(path)
            start, end = inside(one, info)
            name = f"{number:0{digits}} {clip_name(one.path, start, end)}"
            for step in (_copy_clip if copy else _encode_clip)(
                replace(one, start=start, end=end), path, info, folder / name
            ):
                yield step if isinstance(step, Written) else Progress(path, number, len(wanted), done + step, total)
        except UnreadableVideo as error:
            yield Failed(one, str(error))
        done += one.end - one.start


def _encode_clip(wanted: Wanted, path: Path, info: VideoInfo, name: Path) -> Iterator[float | Written]:
    """Writes a clip, and yields after each frame how many seconds of it are done, then the Written."""
    start, end = wanted.start, wanted.end
    file, form = name.with_name(f"{name.name}.mp4"), Sound(path, start).form
    with new_file(file) as (part, placed), raising_ours(part), Film(part, form) as film:
        film.describe(kept_metadata(path, info))
        yield from film.add(path, start, end)
    missing = end - start - film.length
    yield Written(placed[0], wanted, film.length, missing if missing > 1 / info.frame_rate + EXACT else 0.0)


def _copy_clip(wanted: Wanted, path: Path, info: VideoInfo, name: Path) -> Iterator[float | Written]:
    """Copies a clip without encoding it again; yields seconds done, then the Written."""
    kind, copied = copy_kind(path), Copy(path, wanted.start, wanted.end)
    with new_file(name.with_name(f"{name.name}{kind.suffix}")) as (part, placed), raising_ours(part):
        yield from copied.write(part, kind, kept_metadata(path, info))
    yield Written(placed[0], wanted, copied.length, early=copied.early, late=copied.late)


def clip_name(path: Path, start: float, end: float) -> str:
    """Returns a safe name: that of the video, and from when to when.

    >>> clip_name(Path("a/dog.mov"), 83.5, 93.5)
    'dog 1m23.5s-1m33.5s'
    """
    return f"{safe_name(path.stem, 150)} {_spoken(start)}-{_spoken(end)}"


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


class Film:
    """A file that clips are written into, one after another. Use it in a `with` block, whose end completes the file.

    `length` is the number of seconds written so far."""

    def __init__(self, part: Path, form: tuple[int, str] | None, shape: Shape | None = None) -> None:
        """`form` is that of the sound, None for no sound; `shape` None stands for that of the first clip."""
        self.length = 0.0
        self._form, self._shape = form, shape
        self._pictures: PictureEncoder | None = None
        self._sound: SoundEncoder | None = None
        self._container = av.open(str(part), "w", format="mp4", container_options=MP4)

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._pictures:
            self._container.mux(self._pictures.finish())
            if self._sound:
                self._container.mux(list(self._sound.finish()))
        self._container.close()

    def describe(self, tags: Mapping[str, str]) -> None:
        self._container.metadata.update(tags)

    def add(self, path: Path, start: float, end: float) -> Iterator[float]:
        """Writes a clip, and yields after each frame how long the film is. Raises UnreadableVideo."""
        pictures, sound = Pictures(path, start, end), Sound(path, start, self._form)
        blocks = sound.samples() if sound.is_there and self._form else iter(())
        offset, origin = self.length, None
        for (frame, begin, until), stream in pictures.shown():
            if origin is None:
                origin = begin
            if self._pictures is None or self._shape is None:
                self._shape = self._shape or shape_of(pictures, frame, stream)
                self._pictures = PictureEncoder(self._container, *self._shape)
                self._sound = SoundEncoder(self._container, *self._form) if self._form else None
            begin, self.length = offset + begin - origin, offset + until - origin
            shown = pictures.upright(frame, stream, self._shape.look)
            self._container.mux(self._pictures.encode(shown, begin, self.length))
            if self._sound:
                self._container.mux(list(self._sound.encode(blocks, self.length)))
            yield self.length
        if self._sound:
            self._sound.cut(blocks, self.length)


@contextmanager
def raising_ours(part: Path) -> Iterator[None]:
    """Raises what FFmpeg raises, or PyAV for what it does not know, as StorageError or UnreadableVideo."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise failure(error, part) from error
    except ValueError as error:
        raise UnreadableVideo(f"cannot be made a clip of ({error})") from error


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
"""Metadata of the container, which a clip does not take over from its video."""
DISK_ERRORS = {28, 5, 30, 13, 122}
"""Error numbers: disk full, input/output error, read-only file system, no permission, quota exceeded."""
