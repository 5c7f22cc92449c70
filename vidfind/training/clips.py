"""The clips of one training: keeps them decoded in a temporary file of limited size, and augments them.

All frames of a clip get the same random changes, so that its motion stays the same. The changes are those of
torchvision's functional transforms, which take three seconds to import. Knows nothing of models.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.errors import UnreadableVideo
from vidfind.media.decoding import DECODERS, read_clip
from vidfind.media.sampling import Segment, View, as_view

Frames = npt.NDArray[np.uint8]  # (T, S, S, 3)

# Room for 11,000 clips of 12 frames of 224 x 224, 1.8 MB each.
MAX_BYTES = 20 * 10**9
# Share of the free space on the disk of temporary files.
MAX_SHARE = 0.5


@dataclass(frozen=True)
class Decoded:
    """How many of the clips are decoded."""

    done: int
    total: int


class ClipCache:
    """T frames of each segment of some videos: fill it, then read by number.

    Clips that do not fit in the file are decoded again at each access.

    with ClipCache(segments, num_frames=12, view=View(224)) as cache:
        for number, reason in cache.fill(): ...
        frames = cache[0]
    """

    def __init__(
        self, segments: Sequence[tuple[Path, Segment]], num_frames: int, view: View | int, max_bytes: int = MAX_BYTES
    ) -> None:
        self.segments = segments
        self.view = view = as_view(view)
        self.shape = (num_frames, view.size, view.size, 3)
        self.clip_bytes = num_frames * view.size**2 * 3
        # The file has no name on disk (on Windows: until it is closed), so a killed process leaves nothing behind.
        self._file = tempfile.TemporaryFile(prefix="vidfind-")  # noqa: SIM115, closed by `close`
        room = min(max_bytes, int(shutil.disk_usage(tempfile.gettempdir()).free * MAX_SHARE))
        self.kept = min(len(segments), room // self.clip_bytes)
        self._lock = threading.Lock()

    def fill(self) -> Iterator[tuple[int, str]]:
        """Decodes all segments, several at a time; yields the number of each, and why it cannot be read, or ""."""
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
            futures = {pool.submit(self._keep, number): number for number in range(len(self.segments))}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def __getitem__(self, number: int) -> Frames:
        """Returns a clip (T, S, S, 3) uint8. Raises UnreadableVideo if it cannot be decoded."""
        if number >= self.kept:
            return self._decode(number)
        with self._lock:
            self._file.seek(number * self.clip_bytes)
            data = bytearray(self._file.read(self.clip_bytes))  # not bytes: torch needs a writable buffer
        return np.frombuffer(data, np.uint8).reshape(self.shape)

    def __len__(self) -> int:
        return len(self.segments)

    def __enter__(self) -> ClipCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def _keep(self, number: int) -> str:
        try:
            frames = self._decode(number)
        except UnreadableVideo as error:
            return str(error)
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        if number < self.kept:
            with self._lock:
                self._file.seek(number * self.clip_bytes)
                self._file.write(frames.tobytes())
        return ""

    def _decode(self, number: int) -> Frames:
        path, segment = self.segments[number]
        return read_clip(path, segment, self.shape[0], self.view)


SIDES = re.compile(r"\b(left|right|(anti-?|counter-?)?clockwise)(wards?)?\b", re.IGNORECASE)
MIRRORED = 0.5  # share of the clips whose captions name no side
LAYERS = 2  # operations on one clip
GREY = 118.0  # the mean of ImageNet

# RandAugment (Cubuk et al., 2020), as TempMe trains with it, but without solarize, posterize, equalize, colour and
# contrast: captions of one's own videos are full of colours ("the blue kayak"). Strengths are random, -1 to 1.
OPERATIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    lambda x, strength: x,
    lambda x, strength: _move(x, angle=9 * strength),
    lambda x, strength: _move(x, right=strength * 0.1),
    lambda x, strength: _move(x, down=strength * 0.1),
    lambda x, strength: _move(x, scale=1 + 0.15 * strength),
    lambda x, strength: _brighten(x, 1 + 0.25 * strength),
    lambda x, strength: _sharpen(x, 1 + 0.5 * strength),
)


def names_side(caption: str) -> bool:
    """Whether a caption names a side or a sense of rotation, which a mirror would change."""
    return SIDES.search(caption) is not None


def augment(clip: Tensor, caption: str, rng: Random) -> Tensor:
    """Returns a changed clip (T, S, S, 3) uint8; half of the clips are mirrored, unless the caption names a side."""
    frames = clip.permute(0, 3, 1, 2)  # (T, 3, S, S)
    if rng.random() < MIRRORED and not names_side(caption):
        frames = frames.flip(-1)
    for operation in rng.choices(OPERATIONS, k=LAYERS):
        frames = operation(frames, rng.uniform(-1, 1))
    return frames.permute(0, 2, 3, 1)


def _move(x: Tensor, angle: float = 0, right: float = 0, down: float = 0, scale: float = 1) -> Tensor:
    """Rotates frames (T, 3, S, S) by degrees, moves them by shares of the picture, and scales them.

    Empty parts are filled with a medium grey."""
    cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    # From places in the result to places in the frame; opposite sides are at -1 and 1.
    right, down = 2 * right, 2 * down
    inverse = torch.tensor([[cos, sin, -cos * right - sin * down], [-sin, cos, sin * right - cos * down]])
    grid = F.affine_grid(inverse[None].to(x.device), [1, 1, *x.shape[-2:]], align_corners=False)
    framed = F.pad(x.float(), (0, 0, 0, 0, 0, 1), value=1.0)  # (T, 4, S, S), the last: how much of a place is frame
    moved = F.grid_sample(framed, grid.expand(len(x), -1, -1, -1), align_corners=False)
    return (moved[:, 3:] * (moved[:, :3] - GREY) + GREY).round().to(torch.uint8)


def _brighten(x: Tensor, factor: float) -> Tensor:
    return (x * factor).clamp(0, 255).to(torch.uint8)


def _sharpen(x: Tensor, factor: float) -> Tensor:
    """Takes frames (T, 3, S, S) away from blurred ones, with a factor below 1 towards them. Their margins stay."""
    sharp = x.float()
    kernel = torch.full((3, 1, 3, 3), 1 / 13, device=x.device)
    kernel[:, :, 1, 1] = 5 / 13
    blurred = F.conv2d(sharp, kernel, groups=3).round()
    inner = sharp[..., 1:-1, 1:-1]
    inner.add_(blurred - inner, alpha=1 - factor)
    return sharp.clamp(0, 255).to(torch.uint8)
