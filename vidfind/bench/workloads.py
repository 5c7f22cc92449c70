"""The parts of vidfind that `vidfind bench` measures one by one, each in a separate process.

    python -m vidfind.bench.workloads NAME '{"argument": ...}'

prints what the function NAME yields, one JSON object a line. Times are in seconds unless their name says ms.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfind.encoders.costs import encode_in_lanes, time_interleaved
from vidfind.errors import VidfindError
from vidfind.media.sampling import SEGMENT_LENGTH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Told = Iterator[dict[str, Any]]

NUM_FRAMES = 12
SIZE = 224
RECIPE_BATCH = 8
GPU_MODELS = ("ViT-B-32", "ViT-B-16")
GPU_BATCHES = (8, 32, 128)
SEGMENTS_A_VIDEO = 10
VIDEOS_A_FOLDER = 250
VIDEOS_A_COMMIT = 2000


# What is measured with ------------------------------------------------------------------------------------------------


def make_footage(folder: str, kind: str, seconds: float, paths: Sequence[str]) -> Told:
    """Writes long drawn files into `folder`, unless they are there already; returns them."""
    from vidfind.bench.drawn import draw_footage, lengthen

    for drawn, path in zip(draw_footage(Path(folder), kind, len(paths)), paths, strict=True):
        lengthen(drawn, Path(path), seconds)
    yield from ()


def make_shorts(folder: str) -> Told:
    """Writes as many different videos of one second as the trial of int8 wants; yields the path of each."""
    from vidfind.media.write import write_video
    from vidfind.precision.trial import CLIPS

    for number, clip in enumerate(draw_clips(CLIPS, 240)):
        path = Path(folder) / f"short-{number}.mp4"
        write_video(path, clip, NUM_FRAMES)
        yield {"path": str(path)}


def make_weights(model: str, path: str) -> Told:
    """Writes random weights, which are as fast as real ones."""
    from safetensors.torch import save_file

    from vidfind.models.catalog import check_model
    from vidfind.models.clip import random_clip

    check_model(model)
    save_file(random_clip(model).state_dict(), path)
    yield from ()


def make_index(home: str, segments: int, model: str, weights: str) -> Told:
    """Makes an index of random vectors, similar within a video, and empty files for its videos."""
    from datetime import UTC, datetime, timedelta

    import numpy as np

    from vidfind.encoders.names import EncoderIdentity
    from vidfind.models.catalog import TINY, default_encoder
    from vidfind.models.load import load_encoder, weights_digest
    from vidfind.store.settings import IndexSettings
    from vidfind.store.store import Embedded, Store
    from vidfind.store.tables import VideoRow, new_content

    pretrained = "builtin" if model == TINY else weights
    dim = load_encoder(model, pretrained, device="cpu").dim
    digest = weights_digest(model, Path(weights))
    settings = IndexSettings(EncoderIdentity(model, pretrained, digest, default_encoder(model), None, NUM_FRAMES))
    store = Store.create(Path(home) / "indexes" / "default", settings, dim)
    rng = np.random.default_rng(0)
    spans = [(SEGMENT_LENGTH * i, SEGMENT_LENGTH * (i + 1)) for i in range(SEGMENTS_A_VIDEO)]
    now, root = datetime.now(UTC), Path(home) / "videos"
    rows, embedded = [], []
    with store.writing() as writer:
        for number in range(max(1, segments // SEGMENTS_A_VIDEO)):
            path = root / f"{number // VIDEOS_A_FOLDER:04}" / f"{number:06}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            stat = path.stat()
            shape = (new_content(), SEGMENTS_A_VIDEO, SEGMENT_LENGTH * SEGMENTS_A_VIDEO, 1920, 1080, "h264")
            created = now - timedelta(hours=number)
            rows.append(VideoRow(path, root, 0, stat.st_mtime_ns, f"{number:032x}", created, now, *shape))
            vectors = rng.standard_normal(dim) + 0.7 * rng.standard_normal((SEGMENTS_A_VIDEO, dim))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            embedded.append(Embedded(rows[-1].content, spans, vectors.astype(np.float32)))
            if len(rows) == VIDEOS_A_COMMIT:
                writer.put(rows, embedded)
                rows, embedded = [], []
        writer.put(rows, embedded)
        writer.compact()
    yield from ()


def describe(device: str) -> Told:
    """Yields the facts about the machine that only torch knows."""
    import torch

    from vidfind.encoders.encoder import choose_device

    chosen = choose_device(device)
    gpu = torch.cuda.get_device_name() if chosen == "cuda" else chosen if chosen != "cpu" else ""
    yield {"gpu": gpu, "torch": torch.__version__}


# What is measured -----------------------------------------------------------------------------------------------------


def decode(paths: Sequence[str], samplings: Sequence[str], runs: int) -> Told:
    """Yields how long decoding all clips of the files takes, after a first run that starts the decoders.

    The last is that of the default sampling on video hardware, if there is any."""

    from vidfind.media.decoding import decode_ahead
    from vidfind.media.hardware import find_devices
    from vidfind.media.messages import Failed
    from vidfind.media.sampling import DEFAULT_SAMPLING

    def run(sampling: Any, decoder: Any) -> None:
        files = [Path(path) for path in paths]
        for batch in decode_ahead(files, SEGMENT_LENGTH, NUM_FRAMES, SIZE, sampling=sampling, decoder=decoder):
            for message in batch:
                if isinstance(message, Failed):
                    raise RuntimeError(message.reason)

    ways = {sampling: partial(run, sampling, "cpu") for sampling in samplings}
    if device := next((device.name for device in find_devices() if not device.trouble), None):
        ways[f"{DEFAULT_SAMPLING} on {device}"] = partial(run, DEFAULT_SAMPLING, "hardware")
    run(samplings[-1], "cpu")
    for sampling, seconds in time_interleaved(ways, runs).items():
        yield {"sampling": sampling, "seconds": seconds}


def formats() -> Told:
    """Yields the speed of products on one core in each number format, measured now."""
    from vidfind.precision.formats import measure_speeds

    speeds = measure_speeds()
    yield {"gflops": dict(speeds.gflops), "largest_weight": speeds.largest_weight}


def encode(model: str, weights: str, device: str, threads: int, clips: int, runs: int) -> Told:
    """Yields milliseconds a clip by encoder and number format, and cosines to float32; plain CLIP comes first.

    The encoders work as in indexing, with a clip on each core."""
    import torch

    from vidfind.encoders.encoder import Encoder, choose_device
    from vidfind.models.catalog import TINY, default_pretrained
    from vidfind.models.load import load_clip, load_encoder
    from vidfind.precision.integers import largest_weight
    from vidfind.towers.families import has_int8_tower
    from vidfind.towers.whole import WholeTower

    torch.set_num_threads(threads)
    device = choose_device(device)
    pretrained = default_pretrained(TINY) if model == TINY else weights
    plain = load_clip(model, pretrained, Path(weights)).to(device).eval()
    exact = load_encoder(model, pretrained, "mean", device=device, dtype="float32")
    loaded = exact.model, exact.tokenizer, exact.identity, exact.parameters, device
    by_format = {"float32": exact}
    by_format["bfloat16"] = load_encoder(model, pretrained, "mean", device=device, dtype="bfloat16")
    if device == "cpu" and largest_weight() and has_int8_tower(exact.model):
        by_format["int8"] = Encoder(*loaded, int8=True)
    names = ("mean",) if isinstance(exact.tower, WholeTower) else ("mean", "tempme")
    encoders = {f"{name}/{key}": one.with_encoder(name) for name in names for key, one in by_format.items()}
    titles = {"plain": "plain CLIP in float32, open_clip itself"}
    titles |= {f"{name}/{key}": f"{name} in {key}" for name, _, key in (key.partition("/") for key in encoders)}
    pixels = torch.randn(clips * NUM_FRAMES, 3, exact.image_size, exact.image_size, device=device)
    frames = draw_clips(clips, exact.image_size)
    works: dict[str, Callable[[], Any]] = {"plain": partial(encode_plainly, plain, pixels)}
    works |= {key: partial(encode_in_lanes, encoder, frames) for key, encoder in encoders.items()}
    vectors = {key: run() for key, run in works.items()}  # the first run costs more: it is not timed
    if device == "cpu":
        floats = {key: encoder for key, encoder in encoders.items() if key.endswith("/float32")}
        works |= {f"{key}/products": products_of(partial(one.encode_video, frames)) for key, one in floats.items()}
    times = time_interleaved(works, runs)
    for key, title in titles.items():
        told: dict[str, Any] = {"key": key, "what": title, "ms": [1000 * one / clips for one in times[key]]}
        name, _, number_format = key.partition("/")
        if number_format not in ("", "float32"):
            told["cosines"] = (vectors[key] * vectors[f"{name}/float32"]).sum(dim=1).tolist()
        if seconds := times.get(f"{key}/products"):
            told["products"] = [1000 * one / clips for one in seconds]
        yield told


def draw_clips(count: int, size: int) -> NDArray[np.uint8]:
    """Draws clips (count, T, size, size, 3) in which the camera pans over pictures like photographs.

    Of noise, vectors would depend on the last bit: all tokens are equally alike, and merged by chance."""
    import numpy as np

    from vidfind.bench.drawn import texture

    rng = np.random.default_rng(0)
    clips = []
    for _ in range(count):
        picture = np.stack([texture(rng, size, size + 2 * NUM_FRAMES, 20, 235, 1.1) for _ in range(3)], axis=-1)
        clips.append(np.stack([picture[:, 2 * i : 2 * i + size] for i in range(NUM_FRAMES)]))
    return np.stack(clips)


def encode_plainly(clip: Any, pixels: Any) -> Any:
    """Encodes as many frames at a time as the common recipe does."""
    import torch

    with torch.inference_mode():
        return [clip.encode_image(some).cpu() for some in torch.split(pixels, RECIPE_BATCH)]


def products_of(run: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that does only the matrix products, convolutions and attention of `run`, on random values."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    calls: list[tuple[Any, Any, Any]] = []
    numbers: dict[Any, Any] = {}

    def stand_in(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        shape = (tuple(value.shape), value.stride(), value.dtype)
        if shape not in numbers:
            extent = 1 + sum((size - 1) * stride for size, stride in zip(*shape[:2], strict=True))
            numbers[shape] = torch.empty(extent, dtype=value.dtype).normal_(std=0.1).as_strided(*shape[:2])
        return numbers[shape]

    class Listening(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(part in function.name() for part in ("mm", "linear", "matmul", "conv", "dot_product")):
                calls.append((function, tree_map(stand_in, args), tree_map(stand_in, kwargs or {})))
            return function(*args, **(kwargs or {}))

    with Listening():  # type: ignore[no-untyped-call]  # of torch's
        run()

    def products() -> None:
        with torch.inference_mode():
            for function, args, kwargs in calls:
                function(*args, **kwargs)

    products()
    return products


def encode_on_gpu(runs: int) -> Told:
    """Yields clips a second and memory by batch size, in bfloat16 on CUDA; nothing without CUDA."""
    import torch

    from vidfind.encoders.encoder import Encoder
    from vidfind.encoders.names import EncoderIdentity
    from vidfind.models.catalog import default_encoder
    from vidfind.models.clip import random_clip
    from vidfind.text.padded import clip_tokenizer

    if not torch.cuda.is_available():
        return
    for model in GPU_MODELS:
        for name in dict.fromkeys(("mean", default_encoder(model))):
            clip = random_clip(model)
            identity = EncoderIdentity(model, "random", "", name, None, NUM_FRAMES)
            encoder = Encoder(clip, clip_tokenizer(), identity, {}, "cuda", torch.bfloat16)
            for batch in GPU_BATCHES:
                frames = torch.randint(0, 256, (batch, NUM_FRAMES, SIZE, SIZE, 3), dtype=torch.uint8).pin_memory()
                encoder.encode_video(frames)
                torch.cuda.reset_peak_memory_stats()
                times = time_interleaved({"run": partial(encoder.encode_video, frames)}, runs)["run"]
                yield {
                    "key": f"gpu/{model}/{name}/{batch}",
                    "what": f"{model}, {name} in bfloat16, {batch} clips at a time",
                    "clips": [batch / seconds for seconds in times],
                    "bytes": torch.cuda.max_memory_allocated(),
                }


def search(home: str, queries: int) -> Told:
    """Yields milliseconds from words to moments, in a process that has the index and the model in memory."""
    os.environ["VIDFIND_HOME"] = home
    from vidfind.system.imports import import_numpy

    import_numpy()  # as the command does
    from vidfind.search.searcher import Searcher
    from vidfind.store.places.path import index_path

    searcher = Searcher(index_path())
    searcher.prepare()
    times = []
    for number in range(queries + 1):
        began = time.perf_counter()
        searcher.find(f"a dog catches frisbee number {number}")
        times.append(1000 * (time.perf_counter() - began))
    yield {"ms": times[1:]}


WORKLOADS: dict[str, Callable[..., Told]] = {
    function.__name__: function
    for function in (
        make_footage,
        make_shorts,
        make_weights,
        make_index,
        describe,
        decode,
        formats,
        encode,
        encode_on_gpu,
        search,
    )
}

if __name__ == "__main__":
    try:
        for told in WORKLOADS[sys.argv[1]](**json.loads(sys.argv[2])):
            print(json.dumps(told), flush=True)
    except VidfindError as error:
        sys.exit(str(error))
