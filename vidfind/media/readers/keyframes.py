"""Reads frames by keyframes: goes through the packets of a video once, and decodes as few of them as possible.

Right for regular files. Raises ReaderFailed on anything unusual; read.py then reads with PyAV. sampling.py decides
which frames are wanted.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from itertools import chain, cycle, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.frame import PictureType

from vidfind.errors import ReaderFailed
from vidfind.media.clock import Timeline
from vidfind.media.frames import (
    UPRIGHT,
    Orientation,
    decode_frames,
    open_video,
    picture,
    read_packets,
    seek,
    time_of,
    whole_picture,
)
from vidfind.media.probe import Traits
from vidfind.media.readers.gops import LONGEST_LOOK, Gop, Packets, Pick, pick_frames
from vidfind.media.readers.still import look_alike
from vidfind.media.sampling import TICK, Sample, Sampling, Segment, View, as_view

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
    device: str = "",
) -> Iterator[Sample]:
    """Like `read.read_clips`, for a video with these traits.

    `threads` decoders work on different GOPs at a time. Raises ReaderFailed if it is not sure of the frames."""
    view = as_view(view)
    with ExitStack() as files, ExitStack() as pools:
        container, stream = files.enter_context(open_video(path, threads, is_quick=True, device=device))

        def open_another() -> VideoStream:
            return files.enter_context(open_video(path, threads, is_quick=True, device=device))[1]

        timeline = Timeline(container, stream, traits.clock.start)
        packets = Packets(timeline.place(read_packets(container, stream)), stream, traits.start, sampling == "auto")
        picks = pick_frames(packets, segments, num_frames, sampling)
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
    picks: Iterable[Pick], lanes: Sequence[tuple[_Decoder, ThreadPoolExecutor]]
) -> Iterator[tuple[np.ndarray, float]]:
    """Yields the picture and time of each pick, in order; each GOP goes to the next decoder in turn."""
    ahead = AHEAD if len(lanes) > 1 else 0
    waiting: deque[Future[tuple[np.ndarray, float]]] = deque()
    lane = cycle(lanes)
    gop = None

    def look(keyframe: Gop) -> np.ndarray:
        decoder, pool = next(lane)
        return pool.submit(decoder.show, Pick(keyframe.alone(), keyframe.time, keyframe.time, False), True).result()[0]

    still = _Still(look)
    for pick, following in pairwise(chain(picks, [None])):
        assert pick is not None
        if (same := still.picture_at(pick)) is not None:
            shown: Future[tuple[np.ndarray, float]] = Future()
            shown.set_result((same, pick.time))
            waiting.append(shown)
        else:
            if pick.gop is not gop:
                gop, (decoder, pool) = pick.gop, next(lane)
            waiting.append(pool.submit(decoder.show, pick, following is None or following.gop is not gop))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Still:
    """One picture for all picks of a still scene.

    Packets that are nearly empty say that nothing moves. A change that is too slow to show in them, such as that of
    daylight, shows in the keyframes at both ends. Each is compared with the first picture, so that changes do not add
    up."""

    def __init__(self, look: Callable[[Gop], np.ndarray]) -> None:
        self._look = look  # decodes a keyframe
        self._picture = np.empty(0)
        self._end = self._changed = -math.inf  # end of the scene; of the last one that seemed to be still and was not
        self._seen: dict[float, np.ndarray] = {}  # the last keyframes looked at, by time

    def picture_at(self, pick: Pick) -> np.ndarray | None:
        """Returns the picture of the scene if a pick lies in one, else None: the pick has to be decoded."""
        gop, until = pick.gop, pick.gop.until
        if until and until.time > self._end and pick.time > self._changed and pick.time <= until.time:
            self._go_on(gop, until)
        if gop.time - TICK <= self._end and pick.time <= self._end + TICK:
            return self._picture
        return self._seen.get(pick.time) if pick.time == gop.time else None

    def _go_on(self, gop: Gop, until: Gop) -> None:
        """Lengthens the scene to the keyframe of `until`, or begins one at that of `gop`, if they look alike."""
        after = self._see(until)
        if gop.time > self._end + TICK or not look_alike(self._picture, after):
            first = self._see(gop)
            if not look_alike(first, after):
                self._changed = until.time
                return
            self._picture = first
        self._end = until.time

    def _see(self, gop: Gop) -> np.ndarray:
        if gop.time not in self._seen:
            self._seen = {time: seen for time, seen in self._seen.items() if time > gop.time - LONGEST_LOOK}
            self._seen[gop.time] = self._look(gop)
        return self._seen[gop.time]


class _Decoder:
    """Decodes GOP by GOP, in each only as far as needed."""

    def __init__(self, open_stream: Callable[[], VideoStream], view: View, orientation: Orientation) -> None:
        self._open_stream = open_stream
        self._view = view
        self._orientation = orientation
        self._gop: Gop | None = None
        self._decoding: set[float] = set()  # times of packets whose frames the decoder has not returned yet
        self._frames: dict[float, VideoFrame] = {}  # by time: the last wanted frame and those after it
        self._shown: tuple[np.ndarray, float] | None = None

    @cached_property
    def _stream(self) -> VideoStream:
        return self._open_stream()

    def show(self, pick: Pick, is_last: bool) -> tuple[np.ndarray, float]:
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

    def _begin(self, gop: Gop) -> None:
        if self._gop is not None:
            self._stream.codec_context.flush_buffers()
        self._gop, self._shown = gop, None
        self._decoding.clear()
        self._frames.clear()

    def _go_on(self, pick: Pick, time: float, is_last: bool) -> None:
        """Decodes one more packet, or the frames that the decoder still holds."""
        if pick.gop.packets and not (is_last and time in self._decoding):
            shown, packet = pick.gop.packets.popleft()
            self._decoding.add(shown)
            self._stream.codec_context.skip_frame = (
                "NONREF" if pick.skips and shown not in (pick.time, time) else "DEFAULT"
            )
            self._take(packet, time)
        elif self._decoding:
            self._take(None, time)
            self._decoding.clear()
        else:
            raise ReaderFailed(f"its frame at {time:.2f} s cannot be decoded")

    def _take(self, packet: Packet[VideoStream] | None, time: float) -> None:
        """Decodes a packet, and keeps its frames from `time` on: of 4K, those between two picks take 0.3 GB."""
        try:
            frames = self._stream.decode(packet)
        except av.error.FFmpegError as error:
            raise ReaderFailed(f"it is damaged: {error}") from error
        for frame in frames:
            shown = time_of(frame, self._stream)
            if shown is None:
                raise ReaderFailed("its frames have no times")
            self._decoding.discard(shown)
            if shown >= time:
                self._frames[shown] = frame
