"""Gathers the packets of a video into GOPs, and picks of these the frames that are wanted.

A GOP is a keyframe and the packets after it, up to the next. Decodes nothing.
"""

from __future__ import annotations  # PyAV has Packet[VideoStream] for type checkers only

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, dropwhile, islice
from typing import TYPE_CHECKING

from vidfind.errors import ReaderFailed
from vidfind.media.clock import MAX_REORDER
from vidfind.media.frames import frame_rate, time_of
from vidfind.media.readers.still import Sizes, still_limit
from vidfind.media.sampling import MISSING, TICK, Sampling, Segment, nearest_within, part_around, sample_times

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

LONGEST_LOOK = 20.0  # seconds beyond a segment in which the keyframe is sought that ends a still scene


@dataclass(eq=False)
class Gop:
    """A keyframe and the packets after it that were read so far, in decoding order."""

    time: float
    keyframe: Packet[VideoStream]
    sizes: Sizes  # of the packets after the keyframe
    packets: deque[tuple[float, Packet[VideoStream]]] = field(default_factory=deque)  # those not decoded yet
    times: list[float] = field(default_factory=list)  # of the packets that may still be wanted
    until: Gop | None = None  # that to whose keyframe nothing seems to change, once looked for
    is_looked_after: bool = False

    def __post_init__(self) -> None:
        self.packets.append((self.time, self.keyframe))
        self.times.append(self.time)

    def alone(self) -> Gop:
        """The keyframe without the packets after it, to be decoded apart."""
        return Gop(self.time, self.keyframe, self.sizes)


@dataclass(frozen=True)
class Pick:
    """A wanted frame of a GOP. The frame at `early` costs less, and will do if no later frame of the GOP is wanted."""

    gop: Gop
    time: float
    early: float
    skips: bool  # whether frames that no other frame needs may be skipped on the way


def pick_frames(packets: Packets, segments: Sequence[Segment], num_frames: int, sampling: Sampling) -> Iterator[Pick]:
    """Yields the frame to decode for each sample time of each segment."""
    for segment in segments:
        skips = (segment.end - segment.start) / num_frames * packets.frame_rate > MAX_REORDER
        for time in sample_times(segment, num_frames):
            time = max(time, packets.start)
            allowed = part_around(time, segment, num_frames) if sampling == "auto" else segment
            gops = packets.around(time, allowed.end)
            near = nearest_within(allowed, time, list(gops))
            if near is None and sampling == "auto":
                pick = _forward(next(iter(gops.values())), time, allowed.start, skips)
            else:
                gop = next(iter(gops.values())) if near is None else gops[near]
                pick = Pick(gop, gop.time, gop.time, skips)
            packets.look_ahead(pick.gop, segment.end)
            yield pick


def _forward(gop: Gop, time: float, earliest: float, skips: bool) -> Pick:
    """Picks the last frame of a GOP that begins at or before `time`; to save work in a long segment, the first frame
    since `earliest`."""
    shown = [one for one in gop.times if one <= time + TICK]
    last = max(shown)
    gop.times = [one for one in gop.times if one >= last]
    # In a short segment there is little to decode, and small differences in time show what moves.
    early = min((one for one in shown if one >= earliest), default=last) if skips else last
    return Pick(gop, last, early, skips)


class Packets:
    """Gathers packets into GOPs, a little ahead of the wanted time; further where nothing moves.

    Without `keep`, only the keyframes are kept."""

    def __init__(self, packets: Iterable[Packet[VideoStream]], stream: VideoStream, start: float, keep: bool) -> None:
        self.frame_rate = float(frame_rate(stream))
        self.start = start
        self._packets = dropwhile(lambda packet: not packet.is_keyframe, packets)  # those cannot be decoded
        self._stream = stream
        self._keep = keep
        self._limit = still_limit(stream.width, stream.height)
        self._end = self._reached = 0.0  # end of the latest frame; decoding time of the last packet
        self._gops: deque[Gop] = deque()  # that at work, and those after it that have been reached
        self._read()
        if not self._gops or abs(self._gops[0].time - start) > TICK:
            raise ReaderFailed("it does not begin with a keyframe")

    def around(self, time: float, until: float) -> dict[float, Gop]:
        """Returns the GOP that has begun at `time`, read at least up to then, and the next GOP if it was reached.

        The keys are their start times."""
        until += MAX_REORDER / self.frame_rate  # a decoder needs the packets up to here to return a frame shown then
        while True:
            while len(self._gops) > 1 and self._gops[1].time <= time + TICK:
                self._gops.popleft()
            if len(self._gops) > 1 or self._reached > until:
                break
            if not self._read():
                if time > self._end + MISSING:
                    raise ReaderFailed("it ends early")
                break
        return {gop.time: gop for gop in islice(self._gops, 2)}

    def look_ahead(self, gop: Gop, horizon: float) -> None:
        """Notes in a GOP up to which keyframe nothing moves: the last by `horizon`, or else the first after that."""
        if gop.is_looked_after:
            return
        gop.is_looked_after = True
        for i in count(self._gops.index(gop)):
            one = self._gops[i]
            while len(self._gops) == i + 1:
                if one.sizes.tell_change or self._reached > horizon + LONGEST_LOOK or not self._read():
                    return
            after = self._gops[i + 1]
            if not one.sizes.tell_nothing or (gop.until and after.time > horizon):
                return
            gop.until = after
            if after.time > horizon or not gop.sizes.are_like(one.sizes, after.sizes):
                return

    def _read(self) -> bool:
        """Reads a packet into its GOP; returns False at the end."""
        packet = next(self._packets, None)
        if packet is None:
            return False
        shown = self._note(packet)
        if packet.is_keyframe:
            if self._gops and shown <= self._gops[-1].time:
                raise ReaderFailed("its keyframes are not in the order of their times")
            self._gops.append(Gop(shown, packet, Sizes(packet.size, self._limit)))
            return True
        gop = self._gops[-1]
        gop.sizes.add(packet.size)
        if self._keep:
            gop.packets.append((shown, packet))
            gop.times.append(shown)
        return True

    def _note(self, packet: Packet[VideoStream]) -> float:
        """Returns when the frame of a packet is shown; remembers where the video ends."""
        base = self._stream.time_base
        shown = time_of(packet, self._stream)
        if packet.pts is None or shown is None or base is None or packet.is_discard or packet.is_corrupt:
            raise ReaderFailed("it has packets that are broken, not to be shown, or without a time")
        self._end = max(self._end, shown + float((packet.duration or 0) * base))
        self._reached = shown if packet.dts is None else float(packet.dts * base)
        return shown
