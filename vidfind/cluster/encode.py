"""Encodes videos on the nodes of a cluster: the same stream of encoded videos as `encode_videos` makes here."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from vidfind.cluster.connect import import_ray, joined
from vidfind.cluster.crew import MakeActor, Shape
from vidfind.cluster.node import NodeProcess, Work
from vidfind.cluster.options import ClusterOptions
from vidfind.cluster.run import KEPT_BY_NEXT_RUN, Run, reason_of
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress
from vidfind.errors import ClusterError
from vidfind.media.hardware import Decoder
from vidfind.media.sampling import Sampling
from vidfind.models.hub import find_weights
from vidfind.store.store import Store
from vidfind.system.files import fingerprint


def encode_on_cluster(
    sizes: Mapping[Path, int],
    store: Store,
    sampling: Sampling,
    decoder: Decoder,
    options: ClusterOptions,
    process: type[NodeProcess] = NodeProcess,
) -> Generator[EncodedVideo | FailedVideo | Progress]:
    """Encodes videos for an index on the nodes of a cluster; yields each as soon as it is done, in any order.

    Close the generator to stop early. `sizes` are the sizes of the videos in bytes, by their paths; `process` is what
    runs on the nodes. Raises ClusterError if no node can encode, and what `joined` raises."""
    with joined(options.address):
        work, weights = describe_work(store, sampling, decoder, options)
        try:
            yield from Run(sizes, options, actor_maker(process, work), weights).events()
        except (import_ray().exceptions.RayError, ConnectionError) as error:
            raise ClusterError(
                f"The connection to the cluster at {options.address} was lost: {reason_of(error)}. {KEPT_BY_NEXT_RUN}"
            ) from error


def actor_maker(process: type[NodeProcess], work: Work) -> MakeActor:
    """Returns what starts processes on nodes."""
    ray = import_ray()
    remote = ray.remote(process)

    def make(node: str, shape: Shape, room: int) -> Any:
        started = remote.options(
            num_cpus=shape.cores,
            num_gpus=shape.gpus,
            max_concurrency=room + 1,  # and one to say how far it is
            max_restarts=0,
            scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False),
        )
        return started.remote(work, shape.cores, room - 1, bool(shape.gpus))

    return make


def describe_work(store: Store, sampling: Sampling, decoder: Decoder, options: ClusterOptions) -> tuple[Work, Path]:
    """Returns what nodes need to know to encode for an index, and the file of the weights."""
    settings, choice = store.settings, store.choice
    identity = settings.identity
    weights = find_weights(identity.model, identity.pretrained)
    adapter = Path(choice.wanted_adapter).read_bytes() if choice.wanted_adapter else None
    return Work(
        identity,
        weights.name,
        fingerprint(weights),
        adapter,
        options.device,
        options.dtype,
        settings.segment_length,
        sampling,
        decoder,
        settings.overlap,
        tuple(options.maps),
    ), weights
