"""Reads frames by keyframes: goes through the packets of a video once, and decodes as few of them as possible.

Right for regular files. Raises ReaderFailed on anything unusual; read.py then reads with PyAV. sampling.py decides
which frames are wanted.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, cycle, dropwhile, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType

from vidfind.errors import ReaderFailed
from vidfind.media.clock import MAX_REORDER, Timeline
from vidfind.media.frames import (
    UPRIGHT,
    Orientation,
    decode_frames,
    frame_rate,
    open_video,
    picture,
    read_packets,
    seek,
    time_of,
    whole_picture,
)
from vidfind.media.probe import Traits
from vidfind.media.sampling import (
    MISSING,
    TICK,
    Sample,
    Sampling,
    Segment,
    View,
    as_view,
    nearest_within,
    part_around,
    sample_times,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Frames, for some ten seconds of video: enough for one decoder to work on a GOP and another on the next.
AHEAD = 12


def read_by_keyframes(
    path: Path,
    traits: Traits,
    segments: Sequence[Segment],
    num_frames: int,
    view: View | int,
    sampling: Sampling,
    threads: int = 1,
) -> Iterator[Sample]:
    """Like `read.read_clips`, for a video with these traits.

    `threads` decoders work on different GOPs at a time. Raises ReaderFailed if it is not sure of the frames."""
    view = as_view(view)
    with ExitStack() as files, ExitStack() as pools:
        container, stream = files.enter_context(open_video(path, threads, is_quick=True))

        def open_another() -> VideoStream:
            return files.enter_context(open_video(path, threads, is_quick=True))[1]

        timeline = Timeline(container, stream, traits.clock.start)
        packets = _Packets(timeline.place(read_packets(container, stream)), stream, traits.start)
        picks = _picks(packets, segments, num_frames, sampling)
        decoders = [_Decoder(lambda: stream, view, traits.orientation)]
        decoders += [_Decoder(open_another, view, traits.orientation) for _ in range(threads - 1)]
        lanes = [(decoder, pools.enter_context(ThreadPoolExecutor(1))) for decoder in decoders]
        shown = _decode_ahead(picks, lanes)
        for _ in segments:
            frames, times = zip(*islice(shown, num_frames), strict=True)
            yield Sample(np.stack(frames), np.array(times))


# One frame ------------------------------------------------------------------------------------------------------------

STEPS_BACK = (0.0, 1.0, 5.0)
"""Seconds before a time from which its keyframe is sought: some files find keyframes by the times of decoding."""


def read_near(
    container: InputContainer,
    stream: VideoStream,
    start: float,
    time: float,
    near: float,
    longest: int,
    default: Orientation = UPRIGHT,
) -> np.ndarray:
    """Returns a frame shown at most `near` seconds before `time`, (H, W, 3), with a long side of at most `longest`.

    It is the last keyframe if that is so near; else the first frame in these seconds, which takes least to decode.
    `start` is the time in the file of moment 0, and `default` the orientation of frames that do not say theirs. Raises
    ReaderFailed if it is not sure of the frame."""
    keyframe, packets = _seek_keyframe(container, stream, start, time)
    begin, wanted = time_of(keyframe, stream) or 0.0, time - near
    ahead = [keyframe] if begin >= wanted else _skipping(chain([keyframe], packets), stream, wanted)
    is_whole = False
    for frame in decode_frames(ahead, stream):
        shown = time_of(frame, stream)
        if shown is None or shown < begin - TICK:  # needs frames from before the keyframe
            continue
        is_whole = is_whole or (is_keyframe(frame) and shown <= begin + TICK)
        if not is_whole or is_doubtful(frame, stream) or shown > time + TICK:
            break
        if shown >= wanted - TICK:
            return whole_picture(frame, stream, longest, default)
    raise ReaderFailed(f"its frame at {max(begin, wanted):.2f} s cannot be decoded")


def _seek_keyframe(
    container: InputContainer, stream: VideoStream, start: float, time: float
) -> tuple[Packet[VideoStream], Iterator[Packet[VideoStream]]]:
    """Returns the last keyframe at or before `time`, and the packets after it, on the clock of moments."""
    for back in STEPS_BACK:
        if seek(container, stream, start + time - back):
            packets = Timeline(container, stream, start).place(read_packets(container, stream))
            keyframe = next(packets, None)
            begin = time_of(keyframe, stream) if keyframe and keyframe.is_keyframe else None
            if keyframe and begin is not None and begin <= time + TICK and not keyframe.is_discard:
                return keyframe, packets
    raise ReaderFailed("no keyframe is found")


def _skipping(
    packets: Iterable[Packet[VideoStream]], stream: VideoStream, wanted: float
) -> Iterator[Packet[VideoStream]]:
    """Yields the packets; frames before `wanted` that no other frame needs are skipped by the decoder."""
    for packet in packets:
        shown = time_of(packet, stream)
        stream.codec_context.skip_frame = "NONREF" if shown is not None and shown < wanted - TICK else "DEFAULT"
        yield packet


def is_keyframe(frame: VideoFrame) -> bool:
    """Whether a frame needs no other; at the start of a gradual refresh FFmpeg calls a frame a keyframe that does."""
    return frame.key_frame and frame.pict_type == PictureType.I


def is_doubtful(frame: VideoFrame, stream: VideoStream) -> bool:
    """Whether a frame is damaged, or may be half of a picture."""
    return frame.is_corrupt or (frame.interlaced_frame and stream.container.format.name == "mpegts")


# Many frames ----------------------------------------------------------------------------------------------------------


def _decode_ahead(
    picks: Iterable[_Pick], lanes: Sequence[tuple[_Decoder, ThreadPoolExecutor]]
) -> Iterator[tuple[np.ndarray, float]]:
    """Yields the picture and time of each pick, in order; each GOP goes to the next decoder in turn."""
    ahead = AHEAD if len(lanes) > 1 else 0
    waiting: deque[Future[tuple[np.ndarray, float]]] = deque()
    lane = cycle(lanes)
    gop = None
    for pick, following in pairwise(chain(picks, [None])):
        assert pick is not None
        if pick.gop is not gop:
            gop, (decoder, pool) = pick.gop, next(lane)
        waiting.append(pool.submit(decoder.show, pick, following is None or following.gop is not gop))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@dataclass(eq=False)
class _Gop:
    """A keyframe and the packets after it that were read so far, in decoding order."""

    time: float
    packets: deque[tuple[float, Packet[VideoStream]]]  # those not decoded yet
    times: list[float] = field(default_factory=list)  # of the packets that may still be wanted


@dataclass(frozen=True)
class _Pick:
    """A wanted frame of a GOP. The frame at `early` costs less, and will do if no later frame of the GOP is wanted."""

    gop: _Gop
    time: float
    early: float
    skips: bool  # whether frames that no other frame needs may be skipped on the way


def _picks(packets: _Packets, segments: Sequence[Segment], num_frames: int, sampling: Sampling) -> Iterator[_Pick]:
    """Yields the frame to decode for each sample time of each segment."""
    for segment in segments:
        skips = (segment.end - segment.start) / num_frames * packets.frame_rate > MAX_REORDER
        for time in sample_times(segment, num_frames):
            time = max(time, packets.start)
            allowed = part_around(time, segment, num_frames) if sampling == "auto" else segment
            gops = packets.around(time, allowed.end, keep=sampling == "auto")
            near = nearest_within(allowed, time, list(gops))
            if near is None and sampling == "auto":
                yield _forward(next(iter(gops.values())), time, allowed.start, skips)
            else:
                gop = next(iter(gops.values())) if near is None else gops[near]
                yield _Pick(gop, gop.time, gop.time, skips)


def _forward(gop: _Gop, time: float, earliest: float, skips: bool) -> _Pick:
    """Picks the last frame of a GOP that begins at or before `time`; to save work in a long segment, the first frame
    since `earliest`."""
    shown = [one for one in gop.times if one <= time + TICK]
    last = max(shown)
    gop.times = [one for one in gop.times if one >= last]
    # In a short segment there is little to decode, and small differences in time show what moves.
    early = min((one for one in shown if one >= earliest), default=last) if skips else last
    return _Pick(gop, last, early, skips)


class _Packets:
    """Gathers packets into GOPs, a little ahead of the wanted time."""

    def __init__(self, packets: Iterable[Packet[VideoStream]], stream: VideoStream, start: float) -> None:
        self.frame_rate = float(frame_rate(stream))
        self.start = start
        self._packets = dropwhile(lambda packet: not packet.is_keyframe, packets)  # those cannot be decoded
        self._stream = stream
        self._end = self._reached = 0.0  # end of the latest frame; decoding time of the last packet
        self._before = self._read_keyframe(start)
        self._after: _Gop | None = None

    def around(self, time: float, until: float, keep: bool) -> dict[float, _Gop]:
        """Returns the GOP that has begun at `time`, read at least up to then, and the next GOP if it was reached.

        The keys are their start times. Without `keep`, only the keyframe of the first GOP is kept."""
        until += MAX_REORDER / self.frame_rate  # a decoder needs the packets up to here to return a frame shown then
        while True:
            if self._after is not None and self._after.time > time + TICK:
                return {gop.time: gop for gop in (self._before, self._after)}
            if self._after is not None:
                self._before, self._after = self._after, None
            if self._reached > until:
                break
            packet = next(self._packets, None)
            if packet is None:
                if time > self._end + MISSING:
                    raise ReaderFailed("it ends early")
                break
            shown = self._note(packet)
            if packet.is_keyframe:
                self._after = self._begin(packet, shown)
            elif keep:
                self._before.packets.append((shown, packet))
                self._before.times.append(shown)
        return {self._before.time: self._before}

    def _read_keyframe(self, start: float) -> _Gop:
        packet = next(self._packets, None)
        if packet is None or abs(self._note(packet) - start) > TICK:
            raise ReaderFailed("it does not begin with a keyframe")
        return _Gop(start, deque([(start, packet)]), [start])

    def _begin(self, keyframe: Packet[VideoStream], shown: float) -> _Gop:
        if shown <= self._before.time:
            raise ReaderFailed("its keyframes are not in the order of their times")
        return _Gop(shown, deque([(shown, keyframe)]), [shown])

    def _note(self, packet: Packet[VideoStream]) -> float:
        """Returns when the frame of a packet is shown; remembers where the video ends."""
        base = self._stream.time_base
        shown = time_of(packet, self._stream)
        if packet.pts is None or shown is None or base is None or packet.is_discard or packet.is_corrupt:
            raise ReaderFailed("it has packets that are broken, not to be shown, or without a time")
        self._end = max(self._end, shown + float((packet.duration or 0) * base))
        self._reached = shown if packet.dts is None else float(packet.dts * base)
        return shown


class _Decoder:
    """Decodes GOP by GOP, in each only as far as needed."""

    def __init__(self, open_stream: Callable[[], VideoStream], view: View, orientation: Orientation) -> None:
        self._open_stream = open_stream
        self._view = view
        self._orientation = orientation
        self._gop: _Gop | None = None
        self._decoding: set[float] = set()  # times of packets whose frames the decoder has not returned yet
        self._frames: dict[float, VideoFrame] = {}  # by time: the last wanted frame and those after it
        self._shown: tuple[np.ndarray, float] | None = None

    @cached_property
    def _stream(self) -> VideoStream:
        return self._open_stream()

    def show(self, pick: _Pick, is_last: bool) -> tuple[np.ndarray, float]:
        """Returns the picked picture, (S, S, 3), and its time. `is_last`: no other frame of its GOP is wanted."""
        if pick.gop is not self._gop:
            self._begin(pick.gop)
        if self._shown is not None and pick.time == self._shown[1]:
            return self._shown
        time = pick.early if is_last else pick.time
        while time not in self._frames:
            self._go_on(pick, time, is_last)
        self._frames = {shown: frame for shown, frame in self._frames.items() if shown >= time}
        frame = self._frames[time]
        if time == pick.gop.time and not is_keyframe(frame):
            raise ReaderFailed("a keyframe is not one")
        if is_doubtful(frame, self._stream):
            raise ReaderFailed("a frame is broken, or may be half of a picture, as it is interlaced")
        self._shown = picture(frame, self._stream, self._view, self._orientation), time
        return self._shown

    def _begin(self, gop: _Gop) -> None:
        if self._gop is not None:
            self._stream.codec_context.flush_buffers()
        self._gop, self._shown = gop, None
        self._decoding.clear()
        self._frames.clear()

    def _go_on(self, pick: _Pick, time: float, is_last: bool) -> None:
        """Decodes one more packet, or the frames that the decoder still holds."""
        if pick.gop.packets and not (is_last and time in self._decoding):
            shown, packet = pick.gop.packets.popleft()
            self._decoding.add(shown)
            self._stream.codec_context.skip_frame = (
                "NONREF" if pick.skips and shown not in (pick.time, time) else "DEFAULT"
            )
            self._take(packet)
        elif self._decoding:
            self._take(None)
            self._decoding.clear()
        else:
            raise ReaderFailed(f"its frame at {time:.2f} s cannot be decoded")

    def _take(self, packet: Packet[VideoStream] | None) -> None:
        try:
            frames = self._stream.decode(packet)
        except av.error.FFmpegError as error:
            raise ReaderFailed(f"it is damaged: {error}") from error
        for frame in frames:
            shown = time_of(frame, self._stream)
            if shown is None:
                raise ReaderFailed("its frames have no times")
            self._frames[shown] = frame
            self._decoding.discard(shown)
