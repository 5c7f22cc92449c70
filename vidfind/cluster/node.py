"""The program on a node: one process for each encoder, which reads, decodes and encodes videos and returns vectors.

Knows nothing of Ray, of the index or of other nodes. Times are in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from vidfind import __version__
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress, encode_videos
from vidfind.errors import ModelUnavailable, VidfindError
from vidfind.media.hardware import Decoder
from vidfind.media.sampling import Sampling
from vidfind.store.places.maps import local_path
from vidfind.system.files import fingerprint
from vidfind.system.paths import NO_ADAPTER, cluster_path
from vidfind.system.storage import atomic_write

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder


@dataclass(frozen=True)
class Work:
    """How the videos of a run are encoded: what makes the encoder, and the settings of the index."""

    identity: EncoderIdentity
    weights_name: str
    """Name of the file of the weights."""
    weights_digest: str
    """Fingerprint of that file."""
    adapter: bytes | None
    """The file of the adapter."""
    device: str
    dtype: str
    segment_length: float
    sampling: Sampling
    decoder: Decoder
    overlap: bool
    maps: Sequence[str] = ()
    """OLD=NEW, as in `ClusterOptions`."""
    version: str = __version__


class NodeProcess:
    """An encoder on a node, and the videos that it is at. Its methods are called from several threads at a time."""

    def __init__(self, work: Work, cores: int, decoders: int, has_gpu: bool) -> None:
        self._work, self._cores, self._decoders, self._has_gpu = work, cores, decoders, has_gpu
        self._encoder: Encoder | None = None
        self._at_work: dict[str, tuple[float, float]] = {}

    def start(self, weights: npt.NDArray[np.uint8] | None = None) -> str | None:
        """Loads the encoder, and returns the name of its number format; None if the weights are not on this node.

        Then it must be called again with the content of their file. Raises VidfindError, with the reason, where this
        node cannot make the same vectors as the others."""
        from vidfind.models.choice import resolve
        from vidfind.models.load import build
        from vidfind.system.machine import use_threads

        work = self._work
        if work.version != __version__:
            raise VidfindError(f"It has vidfind {__version__}, and the machine that indexes {work.version}.")
        file = self._find_weights() if weights is None else self._keep(work.weights_name, work.weights_digest, weights)
        if file is None:
            return None
        ours = work.identity
        adapter: Path | None = None
        if work.adapter is not None:
            content = np.frombuffer(work.adapter, np.uint8)
            adapter = self._keep("adapter.safetensors", hashlib.sha256(work.adapter).hexdigest()[:32], content)
        choice = EncoderChoice(ours.model, ours.pretrained, ours.encoder, adapter or NO_ADAPTER)
        if adapter is None:
            choice = replace(choice, num_frames=ours.num_frames, reading=ours.reading)
        use_threads(self._cores)
        encoder = build(resolve(choice), work.device if self._has_gpu else "cpu", work.dtype, weights=file)
        if encoder.identity != replace(ours, pretrained=encoder.identity.pretrained):
            raise ModelUnavailable(f"Its weights of {ours.model} / {ours.pretrained} are not those of the index.")
        # Each video has a thread of its own here: together they encode as many clips at a time as one program would.
        encoder.batch_size = max(1, encoder.lanes * encoder.batch_size // self._decoders)
        encoder.lanes = 1
        self._encoder = encoder
        return encoder.number_format

    def encode(self, path: str, stored: str) -> EncodedVideo | FailedVideo:
        """Encodes the video that is `path` on the machine that indexes, and `stored` in the index."""
        assert self._encoder
        work, here = self._work, self._find(path, stored)
        encoding = encode_videos(
            [here],
            [self._encoder],
            work.segment_length,
            sampling=work.sampling,
            overlap=work.overlap,
            decoder=work.decoder,
            threads=max(1, self._cores // self._decoders),
        )
        try:
            with closing(encoding) as events:
                for event in events:
                    if isinstance(event, Progress):
                        self._at_work[path] = (event.done_seconds, event.total_seconds)
                    else:
                        return event
        finally:
            self._at_work.pop(path, None)
        raise AssertionError("a video neither encoded nor failed")

    def progress(self) -> dict[str, tuple[float, float]]:
        """Returns, by the path of each video at work, the length that is encoded and that of all of it, as far as they
        are known."""
        return dict(self._at_work)

    def _find(self, path: str, stored: str) -> Path:
        """Returns where a video is on this node: by the maps of the run, those kept here, or where the index says."""
        places = [*filter(None, (_mapped(path, one) for one in self._work.maps)), local_path(stored)]
        return next((place for place in places if place.exists()), Path(path))

    def _find_weights(self) -> Path | None:
        """Returns the file of the weights if this node has it: in the package, its cache, or at the same path."""
        from vidfind.models.hub import look_for_weights

        ours = self._work.identity
        with suppress(VidfindError, OSError):
            path, _ = look_for_weights(ours.model, ours.pretrained)
            if path and fingerprint(path) == self._work.weights_digest:
                return path
        kept = self._kept(self._work.weights_name, self._work.weights_digest)
        return kept if kept.is_file() else None

    def _keep(self, name: str, digest: str, content: npt.NDArray[np.uint8]) -> Path:
        """Writes a file that came from the machine that indexes, unless another process here has done so."""
        kept = self._kept(name, digest)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.parent / ".lock"):
            if not kept.is_file():
                with atomic_write(kept) as part:
                    content.tofile(part)
        return kept

    @staticmethod
    def _kept(name: str, digest: str) -> Path:
        return cluster_path() / digest / name


def _mapped(path: str, one: str) -> Path | None:
    """Returns where a path is by a map OLD=NEW; None if it is not in OLD."""
    old, _, new = one.partition("=")
    return Path(new) / Path(path).relative_to(old) if Path(path).is_relative_to(old) else None
