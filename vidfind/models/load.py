"""Named models and saved adapters; `load_encoder`.

Owns where weights come from: the package, a local file, or the Hugging Face cache and hub. Heavy libraries are imported
inside functions, so that a missing network is reported before seconds are spent on loading them.
"""

import difflib
import hashlib
import logging
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from vidfind.errors import ModelUnavailable
from vidfind.media.files import fingerprint
from vidfind.models.clip import import_open_clip, read_plain_clip
from vidfind.models.saved_adapters import default_name, find_adapter, list_adapters
from vidfind.models.weights import digest_problem, first_line, loading_problem, weights_problem

if TYPE_CHECKING:
    import torch
    from huggingface_hub import HfFileMetadata

    from vidfind.encoders.encoder import Encoder
    from vidfind.models.adapter_file import Adapter, AdapterInfo

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "ViT-B-32"
DEFAULT_ENCODER = "tempme"
TINY = "tiny"
TINY_FOLDER = Path(__file__).parent.parent / "demo" / "tiny"
TINY_WEIGHTS = TINY_FOLDER / "tiny.safetensors"
TINY_POSITIONS = TINY_FOLDER / "positions.safetensors"

OPENAI = "openai"
OPENAI_HUBS = {
    "ViT-B-32": "timm/vit_base_patch32_clip_224.openai",
    "ViT-B-16": "timm/vit_base_patch16_clip_224.openai",
    "ViT-L-14": "timm/vit_large_patch14_clip_224.openai",
    "ViT-L-14-336": "timm/vit_large_patch14_clip_336.openai",
}
"""Where the first CLIP's weights are; known here so that a search for words need not import open_clip to find them."""

HUB_SECONDS = 1.5
"""How long the hub may take to answer before vidfind says that there is no network."""


@dataclass(frozen=True)
class ModelEntry:
    """A model that vidfind recommends. Any other of open_clip's with a plain vision transformer works too."""

    model: str
    pretrained: str
    hub: str
    """Hugging Face repository; empty for the model in the package."""
    size_bytes: int
    licence: str
    note: str
    path: Path | None = None
    """Its weights on this machine, if they are here."""


MODELS = (
    ModelEntry(
        DEFAULT_MODEL, "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605_143_284, "MIT", "the default"
    ),
    ModelEntry(
        "ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 605_143_284, "MIT", "as fast"
    ),
    ModelEntry(
        "ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 598_516_972, "MIT", "finer, 4x slower"
    ),
    ModelEntry(
        "ViT-L-14",
        "laion2b_s32b_b82k",
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        1_710_517_724,
        "MIT",
        "finest here, 18x slower",
    ),
    ModelEntry(TINY, "builtin", "", 0, "MIT", "knows only the demo's drawn shapes"),
)


def list_models() -> list[ModelEntry]:
    """The recommended models, with their files where they are on this machine."""
    entries = []
    for entry in MODELS:
        path = TINY_WEIGHTS if entry.model == TINY else find_in_cache(entry.hub)
        path = path if path and not weights_problem(path) else None
        size = path.stat().st_size if path else entry.size_bytes
        entries.append(replace(entry, path=path, size_bytes=size))
    return entries


def load_encoder(
    model: str | None = None,
    pretrained: str | None = None,
    encoder: str | None = None,
    adapter: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    announce: Callable[[str], None] = logger.info,
    num_frames: int | None = None,
) -> "Encoder":
    """An encoder ready to use.

    `model` and `pretrained` are open_clip's names; `pretrained` may be a checkpoint file. `adapter` is the name of a
    saved one, or its file. What is not given is what the adapter was trained with, or ViT-B-32, the recommended
    weights, `tempme` and 12 frames. `announce` is told, in a line, before a download begins.
    Raises ModelUnavailable when weights are missing, do not load or cannot be fetched, or the adapter was trained on
    others, and UnsupportedModel when the image tower is not a plain vision transformer.
    """
    saved = read_saved_adapter(adapter) if adapter else None
    info = saved.info if saved else None
    model = model or (info.model if info else DEFAULT_MODEL)
    if info:
        check_adapter(info, model, encoder, num_frames)
        pretrained = pretrained or info.pretrained
    elif encoder:
        check_needs_no_adapter(encoder, model)  # before anything is fetched for nothing
    pretrained = pretrained or default_pretrained(model)
    weights = find_weights(model, pretrained, announce)

    from vidfind.encoders.encoder import DEFAULT_NUM_FRAMES, Encoder, EncoderIdentity, choose_device, choose_dtype
    from vidfind.models.adapter_file import read_adapter
    from vidfind.models.lora import fold_adapter

    device = choose_device(device)
    number_type = choose_dtype(dtype, device)
    clip, tokenizer = load_clip(model, pretrained, weights, None if saved else number_type)  # folded in float32
    digest = weights_digest(model, weights)
    parameters = read_adapter(TINY_POSITIONS).parameters() if weights == TINY_WEIGHTS else {}
    if saved and info:
        check_weights(info, model, pretrained, digest)
        fold_adapter(clip, saved)
        parameters |= saved.parameters()
        digest = joint_digest(digest, info.video_digest)
    identity = EncoderIdentity(
        model,
        pretrained,
        digest,
        encoder or (info.encoder if info else DEFAULT_ENCODER),
        info.name if info else None,
        num_frames or (info.num_frames if info else DEFAULT_NUM_FRAMES),
    )
    return Encoder(clip, tokenizer, identity, parameters, device, number_type)


def load_for_training(
    adapter: str | Path | None = None, encoder: str | None = None, num_frames: int | None = None, **choice: Any
) -> "tuple[Encoder, Adapter | None]":
    """An encoder in float32 to be trained, without `adapter`, and that adapter, to go on from; checked to be of it.

    The other arguments, and what is raised, are those of `load_encoder`.
    """
    start = read_saved_adapter(adapter) if adapter else None
    info = start.info if start else None
    if info:
        check_adapter(info, choice.get("model") or info.model, encoder, num_frames)
        choice = {**choice, "model": info.model, "pretrained": choice.get("pretrained") or info.pretrained}
        encoder, num_frames = info.encoder, info.num_frames
    loaded = load_encoder(encoder="mean", num_frames=num_frames, dtype="float32", **choice)
    loaded = loaded.with_encoder(encoder or DEFAULT_ENCODER)
    if info:
        base = loaded.identity
        check_weights(info, base.model, base.pretrained, base.weights_digest)
    return loaded, start


def default_adapter(model: str | None = None, pretrained: str | None = None) -> str | None:
    """The adapter that a new index of this model and weights uses when nobody asks for another, if there is one."""
    model = model or DEFAULT_MODEL
    try:
        return default_name(model, pretrained or default_pretrained(model))
    except ModelUnavailable:
        return None  # it is told when the model is loaded


def weights_digest(model: str, weights: Path) -> str:
    """What tells the weights of a model from others, an adapter left out."""
    digest = fingerprint(weights)
    is_own = model == TINY and weights == TINY_WEIGHTS  # these have temporal positions beside them
    return joint_digest(digest, fingerprint(TINY_POSITIONS)) if is_own else digest


def joint_digest(weights: str, change: str) -> str:
    """The digest of weights with a change on top; theirs alone where the change leaves video vectors as they are."""
    return hashlib.sha256((weights + change).encode()).hexdigest()[:32] if change else weights


def read_saved_adapter(adapter: str | Path) -> "Adapter":
    """A saved adapter by its name, or by its file. Raises ModelUnavailable, with the names there are."""
    from vidfind.models.adapter_file import read_adapter

    path = find_adapter(adapter)
    saved = read_adapter(path)
    if saved.info is None:
        raise ModelUnavailable(f"{path} is a safetensors file, but no adapter of vidfind.")
    return saved


def check_needs_no_adapter(encoder: str, model: str) -> None:
    """Raises ModelUnavailable for an encoder that means nothing without an adapter, with those that there are."""
    from vidfind.encoders.table import ENCODERS

    if ENCODERS[encoder].is_frozen:
        saved = [one for one in list_adapters() if one.info and (one.info.encoder, one.info.model) == (encoder, model)]
        names = ", ".join(one.name for one in saved)
        of_model = f" --model {model}" if model != DEFAULT_MODEL else ""
        raise ModelUnavailable(
            f"The encoder {encoder} knows nothing before it is trained. Add --adapter NAME with an adapter of it "
            f"({f'saved for {model}: {names}' if names else f'none is saved for {model}'}), "
            f"or make one: vidfind finetune --pairs FILE --encoder {encoder}{of_model}"
        )


def check_adapter(info: "AdapterInfo", model: str, encoder: str | None, num_frames: int | None) -> None:
    """Raises ModelUnavailable when an adapter was not trained for this."""
    from vidfind.encoders.table import ENCODERS

    if info.encoder not in ENCODERS:
        raise ModelUnavailable(f"The adapter {info.name!r} is for the encoder {info.encoder!r}, which vidfind lacks.")
    asked = {"model": model, "encoder": encoder or info.encoder, "frames": num_frames or info.num_frames}
    trained = {"model": info.model, "encoder": info.encoder, "frames": info.num_frames}
    for name, value in asked.items():
        if value != trained[name]:
            raise ModelUnavailable(
                f"The adapter {info.name!r} was trained with {name} {trained[name]}, not {value}: "
                f"leave out --{name}, or take another adapter."
            )


def check_weights(info: "AdapterInfo", model: str, pretrained: str, digest: str) -> None:
    """Raises ModelUnavailable when an adapter was trained on other weights than these."""
    if digest != info.weights_digest and (info.weights_digest or pretrained != info.pretrained):
        raise ModelUnavailable(
            f"The adapter {info.name!r} was trained on other weights than {model} / {pretrained} has here: "
            f"on {info.model} / {info.pretrained}."
        )


def load_clip(model: str, pretrained: str, weights: Path, dtype: "torch.dtype | None" = None) -> tuple[Any, Any]:
    """open_clip's model with its weights, of `dtype` if it can be read so, and its tokenizer.

    Raises ModelUnavailable when they do not fit together."""
    open_clip = import_open_clip()
    import torch

    from vidfind.encoders.towers import check_tower_config

    if model == TINY:
        open_clip.add_model_config(TINY_FOLDER / "tiny.json")
    check_model(model)
    check_tower_config(open_clip.get_model_config(model), model)
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    as_trained = {
        # open_clip only warns when the model's name says otherwise.
        "force_quick_gelu": tag.get("quick_gelu", False),
        "force_preprocess_cfg": {key: tag[key] for key in ("mean", "std") if key in tag},
    }
    try:
        clip = read_plain_clip(model, weights, dtype or torch.float32, as_trained) or open_clip.create_model(
            model,
            pretrained=str(weights.absolute()),  # a file may be called like a tag
            weights_only=True,  # no code in the file is run
            **as_trained,
        )
    except UnpicklingError as error:
        raise ModelUnavailable(f"{weights} {loading_problem(error)}.") from error
    except Exception as error:  # whatever torch.load, safetensors or load_state_dict may say of a wrong file
        raise ModelUnavailable(
            f"{weights} does not load as weights of {model}: {misfit(error)}. "
            "Check that the file is complete and that --model names the architecture it was trained with."
        ) from error
    if not all(
        torch.isfinite(weight.sum()) for weight in clip.state_dict().values()
    ):  # 50 ms; of each number, a second
        raise ModelUnavailable(f"{weights} is damaged: some of its numbers are infinite or none at all. Fetch it anew.")
    return clip, open_clip.get_tokenizer(model)


def misfit(error: Exception) -> str:
    """Why weights that could be read do not load, in a line."""
    if not isinstance(error, RuntimeError):  # open_clip stumbles: StopIteration, AttributeError
        return "it holds something else"
    lines = [line.strip() for line in str(error).splitlines()[1:]]  # below "Error(s) in loading state_dict for CLIP:"
    return textwrap.shorten(lines[0].rstrip("."), 150, placeholder=" and more") if lines else first_line(error)


def default_pretrained(model: str) -> str:
    """The recommended weights of `model`, or the only ones there are. Raises ModelUnavailable when it must be said."""
    for entry in MODELS:
        if entry.model == model:
            return entry.pretrained
    open_clip = import_open_clip()

    tags = open_clip.list_pretrained_tags_by_model(model)
    if len(tags) == 1:
        return str(tags[0])
    if tags:
        raise ModelUnavailable(f"{model} comes with several weights: add --pretrained and one of {', '.join(tags)}.")
    check_model(model)
    raise ModelUnavailable(
        f"open_clip offers no weights for {model}: add --pretrained FILE with a checkpoint of yours."
    )


def find_weights(model: str, pretrained: str, announce: Callable[[str], None] = logger.info) -> Path:
    """The file with the weights, fetched if need be, and looked at: whole, as far as its ends tell.

    One in the cache that is not is removed and fetched anew. Raises ModelUnavailable, and UnsupportedModel before
    anything is fetched for nothing."""
    path, hub = look_for_weights(model, pretrained)
    if path and (problem := weights_problem(path)):
        if not hub:
            raise ModelUnavailable(f"{path} {problem}.")
        announce(f"{path} {problem}. It is removed and fetched anew.")
        remove_from_cache(path)
        path = None
    return path or fetch(model, pretrained, hub, announce)


def look_for_weights(model: str, pretrained: str) -> tuple[Path | None, str]:
    """The file with the weights if it is on this machine, and the Hugging Face repository that it is or would be from.

    The repository is empty for a file of the user's own and for the model in the package. Raises ModelUnavailable for
    names that mean nothing, and UnsupportedModel."""
    if model == TINY and pretrained == default_pretrained(TINY):
        return TINY_WEIGHTS, ""
    file = Path(pretrained).expanduser()
    if file.is_file():
        return file, ""
    if model == TINY:
        raise ModelUnavailable(f"{TINY} comes with weights of its own: leave out --pretrained {pretrained}.")
    hub = known_hub(model, pretrained) or hub_of_tag(model, pretrained)
    return find_in_cache(hub), hub


def known_hub(model: str, pretrained: str) -> str:
    """The Hugging Face repository of weights, if that is known without open_clip; else empty."""
    if pretrained == OPENAI:
        return OPENAI_HUBS.get(model, "")
    return next((entry.hub for entry in MODELS if (entry.model, entry.pretrained) == (model, pretrained)), "")


def hub_of_tag(model: str, pretrained: str) -> str:
    """The Hugging Face repository of weights that open_clip knows. Raises ModelUnavailable and UnsupportedModel."""
    file = Path(pretrained).expanduser()
    if file.is_dir():
        raise ModelUnavailable(f"{pretrained} is a folder: --pretrained takes the checkpoint file in it.")
    if file.suffix or "/" in pretrained or "\\" in pretrained:
        raise ModelUnavailable(f"There is no checkpoint file {pretrained}.")

    open_clip = import_open_clip()

    check_model(model)
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(model)
        known = f"open_clip has {', '.join(tags)}" if tags else "open_clip has none"
        raise ModelUnavailable(f"{model} has no weights called {pretrained}: {known}. A checkpoint file works too.")
    if not tag.get("hf_hub"):
        raise ModelUnavailable(
            f"{model} / {pretrained} is not on the Hugging Face hub: download {tag.get('url', 'it')} "
            "and pass the file with --pretrained FILE."
        )
    from vidfind.encoders.towers import check_tower_config

    check_tower_config(open_clip.get_model_config(model), model)  # a download may take an hour
    return str(tag["hf_hub"])


def hub_files(hub: str) -> tuple[str, list[str]]:
    """Repository, and the names its weights may have, best first. `hub` is "org/name", "org/name/" or with a file."""
    org, name, file = [*hub.split("/", 2), ""][:3]
    return f"{org}/{name}", [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


def find_in_cache(hub: str) -> Path | None:
    """The weights in the Hugging Face cache, if they are there; the hub's client says the same, and loads for .15 s."""
    from huggingface_hub import constants

    repo, names = hub_files(hub)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    with suppress(OSError, ValueError):  # fetching says the same of what cannot be read, and doctor mends it
        revision = (folder / "refs" / "main").read_text(encoding="utf-8")
        files = (folder / "snapshots" / revision / name for name in names)
        return next((file for file in files if file.is_file()), None)
    return None


def remove_from_cache(path: Path) -> None:
    """Deletes a file of the Hugging Face cache: the name it has there, and its content. Raises ModelUnavailable."""
    blob = path.parent / path.readlink() if path.is_symlink() else path
    try:
        path.unlink(missing_ok=True)
        if blob.parent.name == "blobs":  # the cache's own, and not what somebody has linked there
            blob.unlink(missing_ok=True)
    except OSError as error:
        raise ModelUnavailable(f"{path} is broken, and cannot be removed: {error.strerror}.") from error


def fetch(model: str, pretrained: str, hub: str, announce: Callable[[str], None]) -> Path:
    """Download weights into the Hugging Face cache, saying the size first. Raises ModelUnavailable, soon if offline."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    repo, names = hub_files(hub)
    unavailable = (
        f"{model} / {pretrained} is not on this machine (looked in {constants.HF_HUB_CACHE}) and {{reason}}. "
        f"Connect to the network once, or bring the file: {names[0]} of {constants.ENDPOINT}/{repo}, "
        "then add --pretrained FILE."
    )
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(unavailable.format(reason="HF_HUB_OFFLINE forbids fetching it"))
    failure: BaseException | None = None
    for name in names:
        answer = first_answer(partial(get_hf_file_metadata, hf_hub_url(repo, name), timeout=HUB_SECONDS))
        if answer is None:
            raise ModelUnavailable(unavailable.format(reason=f"{constants.ENDPOINT} does not answer"))
        metadata, failure = answer
        if failure is not None and getattr(getattr(failure, "response", None), "status_code", None) == 404:
            continue  # an older repository, without safetensors
        if failure is not None:
            break
        size = f"{metadata.size / 1e6:,.0f} MB" if metadata.size else "size unknown"
        announce(f"Downloading {model} / {pretrained} ({size}, once) to {constants.HF_HUB_CACHE}")
        try:
            return download(repo, name, metadata, announce)
        except Exception as error:  # the hub's client raises its HTTP library's own errors, OSError and more
            raise ModelUnavailable(unavailable.format(reason=f"the download failed ({first_line(error)})")) from error
    raise ModelUnavailable(
        unavailable.format(reason=f"{constants.ENDPOINT} cannot be reached ({failure})")
    ) from failure


def download(repo: str, name: str, metadata: "HfFileMetadata", announce: Callable[[str], None]) -> Path:
    """A file of the hub, in the cache, with the size and the SHA-256 that the hub names; what has others is removed.

    Tried twice. Raises ModelUnavailable, and what the hub's client raises."""
    from huggingface_hub import hf_hub_download

    problem = ""
    for again in (False, True):
        path = Path(hf_hub_download(repo, name, force_download=again))
        size = path.stat().st_size
        if metadata.size not in (None, size):
            problem = f"is {size:,} bytes long, not {metadata.size:,}"
        else:
            problem = weights_problem(path) or digest_problem(path, metadata.etag)
        if not problem:
            return path
        remove_from_cache(path)
        announce(f"The download {problem}. It is removed{'' if again else ', and fetched once more'}.")
    raise ModelUnavailable(f"what came twice {problem}")


def first_answer(ask: Callable[[], Any]) -> tuple[Any, BaseException | None] | None:
    """What `ask` returns or raises; None when it takes over HUB_SECONDS, as a name look-up has no limit of its own."""
    answers: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            answers.append((ask(), None))
        except Exception as error:  # handed to the caller, who names it to the user
            answers.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return answers[0] if answers else None


def check_model(model: str) -> None:
    """Raises ModelUnavailable, with the names that are close, for a model that open_clip does not have."""
    open_clip = import_open_clip()

    # With a colon, open_clip would look for it on the network or in a folder.
    if ":" not in model and open_clip.get_model_config(model) is not None:
        return
    known = {name.lower(): name for name in (TINY, *open_clip.list_models())}
    close = [known[name] for name in difflib.get_close_matches(model.lower(), known, n=3, cutoff=0.4)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "`vidfind models` lists the recommended ones."
    raise ModelUnavailable(f"open_clip has no model called {model}. {hint}")
