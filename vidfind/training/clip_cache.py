"""Clips of one training, decoded once: a temporary file of frames, bounded in size, that vanishes when it is closed.

Knows nothing of models or captions.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from vidfind.errors import UnreadableVideo
from vidfind.media.decoding import DECODERS, read_clips
from vidfind.media.sampling import Segment

Frames = npt.NDArray[np.uint8]  # (T, S, S, 3)

# 1.8 MB a clip of 12 frames of 224 x 224: room for 11,000 of them.
MAX_BYTES = 20 * 10**9
# Of the room left on the disk of temporary files.
MAX_SHARE = 0.5


class ClipCache:
    """T frames of each stretch of video. Fill it, then ask by number; what no longer fits is decoded at each asking.

    with ClipCache(stretches, num_frames=12, size=224) as cache:
        for number, reason in cache.fill(): ...
        frames = cache[0]
    """

    def __init__(
        self, stretches: Sequence[tuple[Path, Segment]], num_frames: int, size: int, max_bytes: int = MAX_BYTES
    ) -> None:
        self.stretches = stretches
        self.shape = (num_frames, size, size, 3)
        self.clip_bytes = num_frames * size * size * 3
        # Its name is gone from the disk at once (Windows: when closed), so nothing is left behind by a killed process.
        self._file = tempfile.TemporaryFile(prefix="vidfind-")  # noqa: SIM115, closed by `close`
        room = min(max_bytes, int(shutil.disk_usage(tempfile.gettempdir()).free * MAX_SHARE))
        self.kept = min(len(stretches), room // self.clip_bytes)
        self._lock = threading.Lock()

    def fill(self) -> Iterator[tuple[int, str]]:
        """Decodes all stretches, several at a time; yields the number of each, and why it cannot be read or ""."""
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
            futures = {pool.submit(self._keep, number): number for number in range(len(self.stretches))}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def __getitem__(self, number: int) -> Frames:
        """(T, S, S, 3) uint8. Raises UnreadableVideo for what cannot be decoded."""
        if number >= self.kept:
            return self._decode(number)
        with self._lock:
            self._file.seek(number * self.clip_bytes)
            data = bytearray(self._file.read(self.clip_bytes))  # not bytes: torch wants what could be written to
        return np.frombuffer(data, np.uint8).reshape(self.shape)

    def __len__(self) -> int:
        return len(self.stretches)

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
        path, segment = self.stretches[number]
        for frames in read_clips(path, [segment], self.shape[0], self.shape[1]):
            return frames
        raise UnreadableVideo(f"is damaged: nothing can be decoded at {segment.start:g} seconds")
