"""The clock of moments: 0 is where players begin, and time goes on where the clock of a file begins anew.

Players count from the container's start, the earliest time of any of its streams: a picture that begins later than the
sound begins later than 0. Knows packets, and nothing of pictures or segments. All times are seconds.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from vidfind.media.frames import frame_rate

MAX_GAP = 24 * 3600.0  # between two frames; after a longer gap the clock was damaged, and the video ends
# The same in TS, MPEG-PS and their like; after a longer gap another recording was joined, and time goes on without it.
MAX_LEAP = 4 * 3600.0
LONG_GAP = 10.0  # between two packets; after a longer gap the packets that follow must bear the time out
MAX_HELD_BACK = 10.0  # from decoding to showing, in TS and its like; after longer the time is damaged
MAX_STEP_BACK = 0.5  # between two packets; after a longer step the clock has begun anew
MAX_REORDER = 16  # frames that an H.264 or HEVC decoder may hold back to put them in order
MAX_DELAY = 4  # frames, by which FFmpeg lets videos in AVI begin later than they do
WITNESSES = 3  # packets; if none of them agrees with the packet before them, the time of that is damaged


@dataclass(frozen=True)
class Clock:
    """How the times in a file become times of moments.

    `start` is the time in the file that players show as 0. `is_joined`: the clock of the file begins anew on the way.
    `is_counted`: there are no times in the file, and frames are counted in the order they are shown.
    """

    start: float = 0.0
    is_joined: bool = False
    is_counted: bool = False


def find_start(container: InputContainer, stream: VideoStream, first: Packet[VideoStream] | None) -> float:
    """Returns the time in the file that players show as 0; `first` is the first packet of the stream.

    The container must have been opened with a look into all of its streams."""
    base = float(stream.time_base or 0)
    start, begin = (container.start_time or 0) / av.time_base, (stream.start_time or 0) * base
    if begin - start > MAX_GAP:  # sound and picture by different clocks
        start = begin
    if container.format.name == "avi" and first is not None and first.pts is not None and first.dts is not None:
        delay = (first.pts - first.dts) * base  # of the decoder; FFmpeg adds it, as AVI knows only an order
        start += delay if delay < MAX_DELAY / frame_rate(stream) else 0.0
    return start


def may_leap(container: InputContainer) -> bool:
    """Whether the clock of such a file may be set anew on the way: TS, MPEG-PS, Ogg and their like."""
    return Flags.ts_discont in Flags(container.format.flags)


class Timeline:
    """Puts the packets of a stream, read in a row, on the clock of moments.

    `joins` counts where the clock of the file has begun anew. `has_times` is whether any packet had a time. `end` is
    when the frames of the packets read so far have all been shown.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, start: float) -> None:
        self.joins = 0
        self.has_times = False
        # In ticks of the stream from here on: whole numbers are exact, and quick.
        self._tick = stream.time_base or Fraction(1, 90000)
        self._frame_length = self._ticks(1 / frame_rate(stream))
        self._longest = self._ticks(MAX_GAP)
        self._may_leap = may_leap(container)
        self._forward = self._ticks(MAX_LEAP if self._may_leap else MAX_GAP)
        self._long_gap = self._ticks(LONG_GAP)
        self._held_back = self._ticks(MAX_HELD_BACK)
        self._back = self._ticks(MAX_STEP_BACK)
        self._reorder = MAX_REORDER * self._frame_length
        self._start = self._ticks(start)  # the time in the file that is 0
        self._end = 0
        self._last = 0  # the time in the file of the last packet that had one
        self._last_is_dts = False

    @property
    def end(self) -> float:
        return float(self._end * self._tick)

    @property
    def start(self) -> float:
        """The time in the file that is 0 for the packets at hand: another one after each join."""
        return float(self._start * self._tick)

    def place(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Yields the packets with their times changed. A packet whose time cannot be true loses it."""
        ahead: deque[Packet[VideoStream]] = deque()
        source = iter(packets)
        while (packet := ahead.popleft() if ahead else next(source, None)) is not None:
            step = self._step(packet)
            if self._is_held_back(packet):
                packet.pts = packet.dts = None
            elif step:
                is_gap = 0 < step <= self._forward
                while len(ahead) < WITNESSES and (another := next(source, None)) is not None:
                    ahead.append(another)
                if not any(self._agrees(packet, one) for one in ahead) and not (is_gap and not ahead):
                    packet.pts = packet.dts = None
                elif not is_gap and step > 0 and not self._may_leap:
                    return
                elif not is_gap:
                    self._begin_anew([packet, *ahead])
            self._move(packet)
            yield packet

    def _step(self, packet: Packet[VideoStream]) -> int:
        """Returns how far a packet is from the one before, if it is a step back or a long gap; else 0."""
        time = _time_in_file(packet)
        if time is None or not self.has_times or packet.is_corrupt:
            return 0
        step = time - self._last
        back = self._back if self._last_is_dts and packet.dts is not None else self._back + self._reorder
        return 0 if -back <= step <= self._long_gap else step

    def _is_held_back(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet is shown so long after, or before, it is decoded that one of its times is damaged."""
        if not self._may_leap or packet.pts is None or packet.dts is None:
            return False
        return abs(packet.pts - packet.dts) > self._held_back

    def _agrees(self, packet: Packet[VideoStream], another: Packet[VideoStream]) -> bool:
        time, later = _time_in_file(packet), _time_in_file(another)
        if time is None or later is None or not self._step(another):
            return False
        return -self._back - self._reorder <= later - time <= self._forward

    def _begin_anew(self, packets: Sequence[Packet[VideoStream]]) -> None:
        """Lets time go on: the first of these packets is shown when all before it have been."""
        self._start = min(shown for one in packets if (shown := _shown(one)) is not None) - self._end
        self.joins += 1

    def _move(self, packet: Packet[VideoStream]) -> None:
        length = packet.duration or 0
        if not 0 < length < self._longest:
            length = self._frame_length
        time = _time_in_file(packet)
        if time is None:
            self._end += 0 if self.has_times else length
            return
        self.has_times = True
        if not packet.is_corrupt:
            self._last, self._last_is_dts = time, packet.dts is not None
        packet.pts = None if packet.pts is None else packet.pts - self._start
        packet.dts = None if packet.dts is None else packet.dts - self._start
        shown = _shown(packet) or 0
        is_likely = not packet.is_corrupt or shown <= self._end + self._reorder  # as the last one before a join
        if not packet.is_discard and is_likely:
            self._end = max(self._end, shown + length)

    def _ticks(self, seconds: float | Fraction) -> int:
        return round(seconds / self._tick)


def _time_in_file(packet: Packet[VideoStream]) -> int | None:
    """Returns when a packet is decoded, or shown if that is all that is known, in ticks."""
    return packet.dts if packet.dts is not None else packet.pts


def _shown(packet: Packet[VideoStream]) -> int | None:
    return packet.pts if packet.pts is not None else packet.dts
