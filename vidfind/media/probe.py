"""Examines a video file: streams, length, size, dates, and what is odd about it."""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.media.frames import (
    MAX_GAP,
    MAX_REORDER,
    check_regular,
    first_frame,
    frame_rate,
    open_video,
    read_packets,
    seek,
    shown_size,
    time_of,
)
from vidfind.media.hdr import HDR_TO_LIGHT
from vidfind.media.pyav_reader import JUMP_MARGIN

SMALL_FILE = 16 * 2**20  # bytes that are read to the end without a thought, to learn the duration
OLDEST_RECORDING = datetime(1990, 1, 2, tzinfo=UTC)  # earlier dates are clocks never set: 1904, 1970, 1980


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. `width` and `height` are those of the picture shown: turned, and with square pixels.

    `duration` reaches to the end of the last frame that is really in the file, whatever its header says; `missing` is
    how many seconds more the header promises, when they are more than one: the file was cut short.
    `rotation` is how many degrees counter-clockwise the stored picture is turned to be shown: 0, 90, 180 or 270.
    """

    duration: float
    frame_rate: Fraction
    width: int
    height: int
    codec: str
    rotation: int
    created: datetime | None
    missing: float = 0.0


def probe(path: Path) -> VideoInfo:
    """What the video is, from its header, its first frame and its last packets.

    Raises UnreadableVideo, with a reason for people, when no frame of the file can be decoded.
    """
    return examine_once(path)[0]


# Which reader ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traits:
    """What decides which reader is right for a file."""

    container: str  # FFmpeg's names for it, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    is_hdr: bool
    has_edits: bool  # some packets are to be decoded and not shown
    has_open_keyframes: bool  # frames after a keyframe need frames from before it
    is_cut_short: bool  # the file ends before its header says
    has_no_length: bool  # the header does not say; recorded to a pipe, or never finished
    start: float = 0.0  # when its first frame is shown, by the stream's clock


def examine_once(path: Path) -> tuple[VideoInfo, Traits]:
    """Probing and reading a file need the same facts: get them from the disk once, unless the file changes."""
    check_regular(path)
    status = os.stat(path)
    return _examine(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)  # a few more than there are decoding workers
def _examine(path: Path, size: int, mtime_ns: int) -> tuple[VideoInfo, Traits]:
    with open_video(path, threads=1, is_quick=True) as (container, stream):  # of one frame, threads would want more
        seen = _Seen()
        packets = _watch(read_packets(container, stream), stream, seen)
        frame = _first_shown(packets, stream)
        start = time_of(frame, stream) or 0.0
        rate = frame_rate(stream)
        claimed = _claimed_duration(container, stream)
        if claimed and size > SMALL_FILE and seek(container, stream, start + claimed - JUMP_MARGIN):
            packets = _watch(read_packets(container, stream), stream, seen)
        deque(packets, maxlen=0)
        if seen.end < start + claimed / 2:  # cut short, or the last packets were not where they should be
            deque(_watch(_packets_again(path), stream, seen), maxlen=0)
        duration = max(seen.end + (0 if seen.has_durations else float(1 / rate)) - start, float(1 / rate))
        missing = claimed - max(duration, seen.end)  # mkv counts from 0, whenever its video begins
        width, height = shown_size(frame, stream)
        info = VideoInfo(
            duration=duration,
            frame_rate=rate,
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            rotation=frame.rotation % 360,
            created=_created(container, stream),
            missing=missing if missing > 1 else 0.0,
        )
        traits = Traits(
            container=container.format.name,
            codec=info.codec,
            is_hdr=frame.color_trc in HDR_TO_LIGHT,
            has_edits=seen.has_edits,
            has_open_keyframes=seen.has_open_keyframes,
            is_cut_short=info.missing > 0,
            has_no_length=not claimed,
            start=start,
        )
        return info, traits


def _first_shown(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> VideoFrame:
    """The frame shown first; where that must be the first keyframe, none after it is decoded."""
    head = list(islice(packets, MAX_REORDER + 1))
    first = head[0].pts if head and head[0].is_keyframe else None
    if first is not None and all(not one.is_discard and one.pts is not None and one.pts >= first for one in head):
        with suppress(av.error.FFmpegError):
            frames = [*stream.decode(head[0]), *stream.decode(None)]
            stream.codec_context.flush_buffers()
            if frames:
                return frames[0]
        stream.codec_context.flush_buffers()
    return first_frame(chain(head, packets), stream)


def _claimed_duration(container: InputContainer, stream: VideoStream) -> float:
    """Seconds, as the header says; 0 if it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _created(container: InputContainer, stream: VideoStream) -> datetime | None:
    """When the video was recorded, as its metadata says; None if that is missing or cannot be true."""
    text = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return None
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    is_sane = OLDEST_RECORDING < created < datetime.now(UTC) + timedelta(days=2)
    return created.astimezone(UTC) if is_sane else None


def _packets_again(path: Path) -> Iterator[Packet[VideoStream]]:
    with open_video(path) as (container, stream):
        yield from read_packets(container, stream)


@dataclass
class _Seen:
    """What the packets that went by tell of their video. `end` is by the stream's clock."""

    end: float = 0.0
    has_durations: bool = False
    has_edits: bool = False
    has_open_keyframes: bool = False


def _watch(packets: Iterable[Packet[VideoStream]], stream: VideoStream, seen: _Seen) -> Iterator[Packet[VideoStream]]:
    """The same packets; notes in `seen` what they tell."""
    last: float | None = None
    for packet in packets:
        time = time_of(packet, stream)
        if packet.is_discard:
            seen.has_edits = True
        elif time is not None and not packet.is_corrupt and (last is None or time - last < MAX_GAP):
            last = time
            length = float((packet.duration or 0) * (stream.time_base or 0))
            length = length if length < MAX_GAP else 0.0
            if time + length >= seen.end:
                seen.end, seen.has_durations = time + length, length > 0
        if packet.is_keyframe and not _is_closed(packet, stream):
            seen.has_open_keyframes = True
        yield packet


def _is_closed(keyframe: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether decoding can begin at a keyframe without harm to what is shown after it.

    In H.264 true only of IDR pictures; open GOPs and gradual refresh have others. Of codecs that decord does not read
    nobody needs to know, and the rest have no other keyframes.
    """
    if stream.codec_context.codec.canonical_name != "h264":
        return True
    return any(header & 31 == IDR for header in _unit_headers(keyframe, stream))


IDR = 5  # the kind of NAL unit


def _unit_headers(packet: Packet[VideoStream], stream: VideoStream) -> Iterator[int]:
    """The first byte of each NAL unit: after its length in mp4 and mkv, after a start code elsewhere."""
    data = bytes(packet)
    extra = stream.codec_context.extradata or b""
    if not extra.startswith(b"\x01"):
        yield from (data[at.end()] for at in re.finditer(b"\0\0\1(?=.)", data, re.DOTALL))
        return
    length_size = (extra[4] & 3) + 1
    at = 0
    while at + length_size < len(data):
        yield data[at + length_size]
        at += length_size + int.from_bytes(data[at : at + length_size], "big")
