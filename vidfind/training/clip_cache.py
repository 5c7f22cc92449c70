"""Keeps the decoded clips of one training in a temporary file of limited size, which vanishes when it is closed.

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
from vidfind.media.decoding import DECODERS, read_clip
from vidfind.media.sampling import Segment

Frames = npt.NDArray[np.uint8]  # (T, S, S, 3)

# Room for 11,000 clips of 12 frames of 224 x 224, 1.8 MB each.
MAX_BYTES = 20 * 10**9
# Share of the free space on the disk of temporary files.
MAX_SHARE = 0.5


class ClipCache:
    """T frames of each segment of some videos: fill it, then read by number.

    Clips that do not fit in the file are decoded again at each access.

    with ClipCache(segments, num_frames=12, size=224) as cache:
        for number, reason in cache.fill(): ...
        frames = cache[0]
    """

    def __init__(
        self, segments: Sequence[tuple[Path, Segment]], num_frames: int, size: int, max_bytes: int = MAX_BYTES
    ) -> None:
        self.segments = segments
        self.shape = (num_frames, size, size, 3)
        self.clip_bytes = num_frames * size * size * 3
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
        return read_clip(path, segment, self.shape[0], self.shape[1])
