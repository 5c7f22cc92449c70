"""Examines a video file: streams, length, size, dates, and what is odd about it."""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidfind.errors import UnreadableVideo
from vidfind.media.clock import MAX_LEAP, MAX_REORDER, MAX_STEP_BACK, Clock, Timeline, find_start, may_leap
from vidfind.media.dates import Recorded, when_recorded
from vidfind.media.frames import (
    HDR_TO_LIGHT,
    JUMP_MARGIN,
    UPRIGHT,
    Orientation,
    check_regular,
    display_matrix,
    first_frame,
    frame_rate,
    has_timestamps,
    open_video,
    orientation,
    read_packets,
    seek,
    shown_size,
    time_of,
)
from vidfind.media.protection import boxes, is_protected, is_scrambled

SMALL_FILE = 16 * 2**20  # bytes; such a file is read to its end to learn the duration
PROTECTED = "is protected: its pictures are encrypted, and only its own player or receiver can show them"
PLACES = 64  # at which a larger file is looked into for joins


@dataclass(frozen=True)
class VideoInfo:
    """The properties of a video.

    `start` is when its first frame is shown, in seconds on the clock of players: after 0 if the sound begins first.
    `duration`, in seconds, reaches from 0 to the end of the last frame that is really in the file, whatever its header
    says.
    `has_more`: other files were joined to its end, which cannot be read, and which no player shows.
    `missing` is how many seconds more the header promises, if more than one: the file was cut short.
    `width` and `height` are those of the picture as shown: turned upright, and with square pixels.
    `rotation` is by how many degrees the stored picture is rotated counter-clockwise for display: 0, 90, 180 or 270.
    `footage` is the same in files with the same packets of video, shown alike, whatever else their headers say. Of a
    file larger than SMALL_FILE only the packets at its ends count.
    `created` is when it was recorded, in UTC; `created_from` says if the metadata, the name or the file's time tells.
    """

    duration: float
    frame_rate: Fraction
    width: int
    height: int
    codec: str
    rotation: int
    created: datetime
    created_from: str
    missing: float = 0.0
    start: float = 0.0
    has_more: bool = False
    footage: str = field(default="", compare=False)


def probe(path: Path) -> VideoInfo:
    """Returns the properties of a video, from its header, its first frame and its last packets.

    Raises UnreadableVideo, with a reason for users, if no frame of the file can be decoded.
    """
    return examine_once(path)[0]


def read_date(path: Path) -> Recorded:
    """Returns the date of a video and what tells it; looks at its header alone. Raises UnreadableVideo."""
    with open_video(path, threads=1, is_quick=True) as (container, stream):
        return when_recorded(path, os.stat(path).st_mtime_ns, [container.metadata, stream.metadata])


# Which reader ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traits:
    """The properties that decide which reader is right for a file."""

    container: str  # FFmpeg's names for it, such as "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    is_hdr: bool
    has_edits: bool  # some packets must be decoded but not shown
    has_open_keyframes: bool  # frames after a keyframe need frames from before it
    is_cut_short: bool  # the file ends before its header says
    has_no_length: bool  # the header gives no duration: recorded to a pipe, or never finished
    has_matrix: bool = False  # the header or the stream says how the picture is turned for display
    orientation: Orientation = UPRIGHT  # of the first frame
    start: float = 0.0  # when the first frame is shown, in seconds
    clock: Clock = field(default_factory=Clock)


def examine_once(path: Path) -> tuple[VideoInfo, Traits]:
    """Returns the properties and traits of a video; reads them from disk once, and again if the file changes.

    Probing and reading a file need the same facts."""
    check_regular(path)
    status = os.stat(path)
    if is_protected(path):
        raise UnreadableVideo(PROTECTED)
    try:
        return _examine(path, status.st_size, status.st_mtime_ns)
    except UnreadableVideo as error:
        if is_scrambled(path):
            raise UnreadableVideo(PROTECTED) from error
        raise


@lru_cache(maxsize=32)  # a few more than there are decoding workers
def _examine(path: Path, size: int, mtime_ns: int) -> tuple[VideoInfo, Traits]:
    # One thread: with more, a decoder needs more than one frame. Not quick: only a full look tells the start of a file.
    with open_video(path, threads=1) as (container, stream):
        if "enc_key_id" in stream.metadata:  # so FFmpeg names the encryption of Matroska
            raise UnreadableVideo(PROTECTED)
        raw = read_packets(container, stream)
        first = next(raw, None)
        start = find_start(container, stream, first)
        line, seen = Timeline(container, stream, start), _Seen()
        packets = _watch(line.place(chain([first] if first else [], raw)), stream, seen)
        frame = _first_shown(packets, stream)
        begin = max(time_of(frame, stream) or 0.0, 0.0) if line.has_times else 0.0
        rate = frame_rate(stream)
        claimed = _claimed_duration(container, stream)
        is_large = claimed > 0 and size > SMALL_FILE  # else all of it is read
        is_joined = is_large and _looks_joined(container, stream, size)
        tail = line
        if is_large and seek(container, stream, start + begin + claimed - JUMP_MARGIN):
            tail = Timeline(container, stream, start)
            packets = _watch(tail.place(read_packets(container, stream)), stream, seen)
        deque(packets, maxlen=0)
        if is_joined or tail.end < begin + claimed / 2:  # or cut short, or its end is not where the header says
            tail = _read_all(path, start, seen)
        end = max(line.end, tail.end, begin + float(1 / rate))
        missing = _missing(path, container, stream, start, end) if claimed and not tail.joins else 0.0
        width, height = shown_size(frame, stream)
        turned = orientation(frame)
        recorded = when_recorded(path, mtime_ns, [container.metadata, stream.metadata])
        info = VideoInfo(
            duration=end,
            frame_rate=rate,
            width=width,
            height=height,
            codec=stream.codec_context.codec.canonical_name,
            rotation=90 * turned.quarter_turns,
            created=recorded.created,
            created_from=recorded.created_from,
            missing=missing if missing > 1 else 0.0,
            start=begin,
            has_more=not tail.joins and _has_more(path, container.format.name, seen.position),
        )
        shown = (end, rate, begin, info.missing, width, height, info.codec, turned, frame.color_trc)
        seen.digest.update(repr(shown).encode())
        info = replace(info, footage=seen.digest.hexdigest()[:32])
        traits = Traits(
            container=container.format.name,
            codec=info.codec,
            is_hdr=frame.color_trc in HDR_TO_LIGHT,
            has_edits=seen.has_edits,
            has_open_keyframes=seen.has_open_keyframes,
            is_cut_short=info.missing > 0,
            has_no_length=not claimed,
            has_matrix=display_matrix(frame) is not None,
            orientation=turned,
            start=begin,
            clock=Clock(start, is_joined=tail.joins > 0, is_counted=not line.has_times),
        )
        return info, traits


def _first_shown(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> VideoFrame:
    """Returns the frame that is shown first. If that must be the first keyframe, no other frame is decoded."""
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


def claimed_length(path: Path) -> float:
    """Returns the length of a video that its header claims, in seconds; 0 if it says nothing. Takes milliseconds.

    Raises UnreadableVideo for a file that cannot be opened."""
    with open_video(path, threads=1, is_quick=True) as (container, stream):
        return _claimed_duration(container, stream)


def _claimed_duration(container: InputContainer, stream: VideoStream) -> float:
    """Returns the duration in the header, in seconds; 0 if the header has none."""
    if not has_timestamps(container):
        return 0.0  # FFmpeg makes one up, from the bits a second
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _read_all(path: Path, start: float, seen: _Seen) -> Timeline:
    with open_video(path) as (container, stream):
        line = Timeline(container, stream, start)
        deque(_watch(line.place(read_packets(container, stream)), stream, seen), maxlen=0)
        return line


def _looks_joined(container: InputContainer, stream: VideoStream, size: int) -> bool:
    """Whether the clock of a file begins anew somewhere, as far as a few of its places tell."""
    if not may_leap(container):
        return False
    last = None
    near_start = [size * 0.8**number for number in range(PLACES // 2)]  # the first of the files may be short
    for place in sorted([*near_start, *range(0, size, -(-size // PLACES))]):
        try:
            container.seek(int(place), unsupported_byte_offset=True)
        except av.error.FFmpegError:
            return False
        times = (time_of(packet, stream) for packet in islice(read_packets(container, stream), MAX_REORDER))
        time = next((one for one in times if one is not None), None)
        if time is not None and last is not None and not -MAX_STEP_BACK < time - last < MAX_LEAP:
            return True
        last = last if time is None else time
    return False


# How files begin that FFmpeg reads no further than to the next such place.
BEGINNINGS = {"flv": b"FLV\1", "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")}


def _has_more(path: Path, container: str, position: int) -> bool:
    """Whether another file begins after the last packet, at `position`: in MP4, after the first list of frames."""
    with open(path, "rb") as file:
        if container.startswith("mov"):
            return sum(kind == b"moov" for kind, _, _ in boxes(file, 0, path.stat().st_size)) > 1
        file.seek(position)
        return container in BEGINNINGS and position > 0 and BEGINNINGS[container] in file.read(SMALL_FILE)


OWN_LENGTHS = {"mov", "avi"}  # containers that have a length for each stream; others have that of the longest


def _missing(path: Path, container: InputContainer, stream: VideoStream, start: float, end: float) -> float:
    """Returns how many seconds the header promises after the `end` of the picture."""
    claimed = _claimed_duration(container, stream)
    if not OWN_LENGTHS.isdisjoint(container.format.name.split(",")) and stream.duration:
        begin = start if stream.start_time is None else float(stream.start_time * (stream.time_base or 0))
        return begin - start + claimed - end
    missing = claimed - max(end, start + end)  # lengths count from 0 in mkv and ASF, whatever the start
    return min(missing, claimed - _end_of_any(path, start + end)) if missing > 1 else missing


def _end_of_any(path: Path, time: float) -> float:
    """Returns the end of the stream that lasts longest, in the file's time, read on from `time`."""
    end = 0.0
    with open_video(path) as (container, stream):
        if time > JUMP_MARGIN:  # FFmpeg reads nothing of FLV after a jump to before its start
            seek(container, stream, time - JUMP_MARGIN)
        for other in container.streams:
            other.discard = Discard.default
        for packet in read_packets(container, None):
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


@dataclass
class _Seen:
    """The facts learned from the packets read so far; `position` is that of the last one in the file."""

    has_edits: bool = False
    has_open_keyframes: bool = False
    position: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


def _watch(packets: Iterable[Packet[VideoStream]], stream: VideoStream, seen: _Seen) -> Iterator[Packet[VideoStream]]:
    """Yields the same packets, and records in `seen` what can be learned from them."""
    for packet in packets:
        seen.position = packet.pos or seen.position
        seen.digest.update(packet.size.to_bytes(8, "big"))
        seen.digest.update(memoryview(packet))
        if packet.is_discard:
            seen.has_edits = True
        if packet.is_keyframe and not is_closed(packet, stream):
            seen.has_open_keyframes = True
        yield packet


def is_closed(keyframe: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether decoding can begin at a keyframe, with all later frames intact.

    In H.264 and HEVC only at IDR pictures; open GOPs and gradual refresh have other keyframes too. For all other codecs
    the answer is True: decord does not read them, or all their keyframes are closed.
    """
    codec = stream.codec_context.codec.canonical_name
    if codec == "h264":
        return any(header & 31 == IDR for header in _unit_headers(keyframe, stream))
    if codec == "hevc":
        return any(header >> 1 & 63 in HEVC_IDR for header in _unit_headers(keyframe, stream))
    return True


IDR = 5  # the NAL unit type of an IDR picture
HEVC_IDR = (19, 20)
SEI, HEVC_SEI = 6, (39, 40)  # the types of units that say more about a picture
ORIENTATION = 47  # the type of a message in such a unit that says how the picture is turned for display


def turns_itself(packet: Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether H.264 or HEVC says in the stream how its pictures are turned; FFmpeg gives that with some frames only."""
    codec = stream.codec_context.codec.canonical_name
    if codec not in ("h264", "hevc"):
        return False
    for unit in _units(packet, stream):
        is_sei = unit[0] & 31 == SEI if codec == "h264" else unit[0] >> 1 & 63 in HEVC_SEI
        if is_sei and ORIENTATION in _messages(unit[1 if codec == "h264" else 2 :]):
            return True
    return False


def _messages(data: bytes) -> Iterator[int]:
    """Yields the types of the messages in a unit, each of which is followed by its length in bytes."""
    numbers = iter(data.replace(b"\0\0\3", b"\0\0"))  # what keeps start codes out of the data

    def number() -> int:
        total = 0
        for value in numbers:
            total += value
            if value < 255:
                return total
        raise EOFError

    with suppress(EOFError):
        while True:
            yield number()
            deque(islice(numbers, number()), maxlen=0)


def _unit_headers(packet: Packet[VideoStream], stream: VideoStream) -> Iterator[int]:
    """Yields the first byte of each NAL unit."""
    return (unit[0] for unit in _units(packet, stream))


def _units(packet: Packet[VideoStream], stream: VideoStream) -> Iterator[bytes]:
    """Yields the NAL units, which follow a length in mp4 and mkv, and a start code elsewhere."""
    data = bytes(packet)
    extra = stream.codec_context.extradata or b""
    if not extra.startswith(b"\x01"):
        yield from (unit for unit in data.split(b"\0\0\1")[1:] if unit)
        return
    is_hevc = stream.codec_context.codec.canonical_name == "hevc"
    length_size = (extra[21 if is_hevc else 4] & 3) + 1
    at = 0
    while at + length_size < len(data):
        length = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        yield data[at : at + max(length, 1)]
        at += length
