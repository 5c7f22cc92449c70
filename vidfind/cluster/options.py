"""How a run uses a cluster. Imports nothing heavy: the command line reads its own defaults here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

AUTO = "auto"
"""The cluster that runs on this machine; one is started for the run if there is none."""
CORES = 4
"""Cores of an encoder on a node without GPU: more threads than that wait for one another."""


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster that encodes, and how.

    >>> from vidfind import ClusterOptions, IndexOptions
    >>> options = IndexOptions(cluster=ClusterOptions("ray://head:10001", maps=["/mnt/archive=/data/archive"]))
    """

    address: str = AUTO
    """`auto`, `ray://HOST:PORT` from any machine, or HOST:PORT from a node of the cluster."""
    maps: Sequence[str] = ()
    """OLD=NEW: what is in the folder OLD here is in NEW on nodes where that is there."""
    device: str = "auto"
    """The device that encodes: `auto` takes each GPU of the cluster, and the cores of nodes without one."""
    dtype: str = "auto"
    cores: int | None = None
    """Cores for each encoder on a node without GPU; None: CORES, or all of a node that has fewer."""
    decoders: int | None = None
    """Videos that one encoder's process decodes at a time; None: one for each of its cores."""
