"""Videos to vectors: what `decode_ahead` says of them, and the vectors of their clips, made while more are decoded.

Joins decoding and encoders; knows nothing of the index. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.media.decoding import Clip, Message, decode_ahead
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling
from vidfind.system.machine import parallel_map

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder

Vectors = list[npt.NDArray[np.float32]]
"""Of the N clips in a batch of messages, from each encoder: (N, D)."""


def encode_ahead(
    paths: Sequence[Path],
    segment_length: float,
    encoders: Sequence[Encoder],
    workers: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> Generator[tuple[list[Message], Vectors]]:
    """What `decode_ahead` yields, with the vectors of its clips; for encoders that look at the same frames.

    Close the generator to stop early. Raises ModelUnavailable, as `encode_video` does."""
    first = encoders[0]
    decoding = decode_ahead(
        paths, segment_length, first.num_frames, first.image_size, workers, sampling, first.batch_size
    )

    def encode(batch: list[Message]) -> Vectors:
        frames = [message.frames for message in batch if isinstance(message, Clip)]
        if not frames:
            return [np.empty((0, encoder.dim), np.float32) for encoder in encoders]
        clips = np.stack(frames)
        return [encoder.encode_video(clips).numpy() for encoder in encoders]

    with closing(decoding) as batches, closing(parallel_map(encode, batches, first.lanes)) as encoded:
        yield from encoded
