"""Finds scenes in which nothing moves: by the sizes of packets, before anything is decoded, and by two pictures.

Pure functions and small state: no files, no decoders.
"""

from __future__ import annotations

from collections import deque

import numpy as np

# An encoder that finds nothing changed writes a packet of next to nothing: a few bytes, and some bits for each block.

BYTES_OF_NOTHING = 24
BLOCKS_A_BYTE = 50  # measured with H.264 and HEVC: 50 to 76 bytes for the 3,600 blocks of 720p; what moves takes more
BURST = 2.0  # a single packet may be so many times larger
WINDOW = 8  # packets in whose mean movement shows: B frames are smaller than P frames
KEYFRAME_CHANGE = (
    0.002  # sizes of keyframes of the same picture without noise differ less: those with noise are looked at
)
BLOCK_CHANGE = 4.0  # grey levels by which the mean of a small block may differ, in any colour: noise of the encoder
BLOCKS = 28  # in each direction


def still_limit(width: int, height: int) -> float:
    """Returns the mean size of packets, in bytes, up to which nothing moves in a picture of this size."""
    return BYTES_OF_NOTHING + width * height / 256 / BLOCKS_A_BYTE


class Sizes:
    """Sizes of the packets of a GOP, in bytes, and what they say about its frames."""

    def __init__(self, keyframe: int, limit: float) -> None:
        self.tell_change = False
        self._keyframe, self._limit, self._count = keyframe, limit, 0
        self._last: deque[int] = deque(maxlen=WINDOW)

    def add(self, size: int) -> None:
        """Adds the next packet after the keyframe."""
        self._count += 1
        self._last.append(size)
        is_large = self._count >= WINDOW and self._mean > self._limit
        self.tell_change = self.tell_change or is_large or size > BURST * self._limit

    @property
    def tell_nothing(self) -> bool:
        """Whether nothing moves in the GOP, now that it is complete. Without such packets nothing is known of it."""
        return not self.tell_change and self._count > 0 and self._mean <= self._limit

    def are_like(self, before: Sizes, after: Sizes) -> bool:
        """Whether the keyframe of `after`, the GOP that follows on `before`, may show what that of this one shows.

        At a cut there are keyframes too: mostly of another size, and earlier than the encoder had to begin a GOP."""
        is_regular = before._count == self._count
        return is_regular and abs(after._keyframe - self._keyframe) <= KEYFRAME_CHANGE * self._keyframe

    @property
    def _mean(self) -> float:
        return sum(self._last) / len(self._last)


def look_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures (S, S, 3) uint8 are the same but for noise: no small block of them is brighter or darker."""
    block = max(1, one.shape[0] // BLOCKS)
    size = one.shape[0] // block * block
    change = one[:size, :size].astype(np.int16) - other[:size, :size]
    means = change.reshape(size // block, block, size // block, block, 3).mean(axis=(1, 3))
    return bool(np.abs(means).max() <= BLOCK_CHANGE)


def is_one_picture(clip: np.ndarray, other: np.ndarray) -> bool:
    """Whether all frames of two clips, (T, S, S, 3) each, are the same."""
    frames = (*clip[::-1], *other)
    return all(np.array_equal(frames[0], frame) for frame in frames[1:])
