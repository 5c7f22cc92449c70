"""Options of indexing, and their defaults. Imports nothing heavy: the command line reads its own defaults here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidfind.cluster.options import ClusterOptions
from vidfind.media.hardware import DEFAULT_DECODER, Decoder
from vidfind.media.sampling import DEFAULT_SAMPLING, Sampling

FEW_REMOVALS = 20
"""So many videos are removed at once without a question."""


@dataclass(frozen=True)
class IndexOptions:
    """Options of `index_videos`, with their defaults.

    >>> from vidfind import IndexOptions, index_videos
    >>> for event in index_videos("~/Videos", options=IndexOptions(exclude=["*/drafts/*"], sampling="keyframes")):
    ...     pass
    """

    exclude: Sequence[str] = ()
    """Patterns of files and folders that are ignored, as `Exclusions` describes them, for instance `*/drafts/*`."""
    include: Sequence[str] = ()
    """Patterns of `exclude` in earlier runs, which the index has left out ever since: these are taken again."""
    is_asked: bool = True
    """Whether a user has named the folders just now: then they are taken even if they were removed from the index."""
    all_files: bool = False
    """Take also what is left out by default: bins, parts of libraries, proxies, Live Photos."""
    force: bool = False
    """Encode every video again: also those that have not changed, and those that failed before."""
    verify: bool = False
    """Compare the contents of files that seem unchanged (same size, same time) with what is stored."""
    sampling: Sampling = DEFAULT_SAMPLING
    """Which frames stand for a segment: see `media/sampling.py`."""
    decoder: Decoder = DEFAULT_DECODER
    """What decodes the videos, a device or the processor: see `media/hardware.py`."""
    may_remove: Callable[[int], bool] = lambda videos: False
    """Asked before more than FEW_REMOVALS videos at once are removed because they are gone or left out, with their
    number. If not, they stay in the index, and a NotRemoved event says so."""
    workers: int | None = None
    """Number of processes that decode videos. None: one for each core, 2 to 8."""
    cluster: ClusterOptions | None = None
    """The cluster of machines that encodes; None: this machine does."""


DEFAULT_OPTIONS = IndexOptions()
