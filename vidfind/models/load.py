"""Named models and saved adapters; `load_encoder`.

Owns where weights come from: the package, a local file, or the Hugging Face cache and hub. Heavy libraries are imported
inside functions, so that a missing network is reported before seconds are spent on loading them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from vidfind.encoders.names import (
    EncoderChoice,
    EncoderIdentity,
    first_reading,
    is_path,
)
from vidfind.encoders.views import joint_digest as joint_digest
from vidfind.encoders.views import view_words
from vidfind.errors import ModelUnavailable
from vidfind.models.adapter_file import find_adapter, read_info
from vidfind.models.catalog import (
    INCEPTION_WEIGHTS,
    OPENAI,
    TINY,
    TINY_FOLDER,
    TINY_POSITIONS,
    TINY_WEIGHTS,
    check_can_merge,
    check_config,
    check_model,
    known_hub,
    timm_tower,
)
from vidfind.models.choice import ResolvedChoice, check_needs_no_adapter, check_weights, resolve
from vidfind.models.clip import (
    ImageHalf,
    as_trained,
    empty_tower,
    only,
    read_image_half,
    read_plain_clip,
    read_timm_half,
)
from vidfind.models.hub import find_tokenizer, find_weights, look_for_weights
from vidfind.models.weights import SAFETENSORS, first_line, loading_problem, misfit
from vidfind.system.files import fingerprint
from vidfind.system.imports import import_open_clip
from vidfind.system.machine import one_thread
from vidfind.text.config import open_clip_config, read_config
from vidfind.text.hub_tokenizer import make_tokenizer
from vidfind.text.padded import PaddedTokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vidfind.encoders.encoder import Encoder
    from vidfind.models.adapter_file import Adapter
    from vidfind.precision.trial import Trial
    from vidfind.towers.clip import Int8ClipTower
log = logging.getLogger(__name__)

VISUAL = "visual"
"""Begins the names of weights in floats that are kept with an image tower in integers."""


def load_encoder(
    model: str | None = None,
    pretrained: str | None = None,
    encoder: str | None = None,
    adapter: str | Path | None = None,
    num_frames: int | None = None,
    *,
    reading: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    announce: Callable[[str], None] = log.info,
) -> Encoder:
    """An encoder of video and text, ready to use.

    >>> from vidfind import load_encoder
    >>> encoder = load_encoder("tiny", encoder="mean", device="cpu")
    >>> encoder.num_frames, encoder.image_size, encoder.dim
    (12, 56, 128)

    Arguments:
        model: open_clip's name of the model. None: that of the adapter, or ViT-B-32.
        pretrained: open_clip's name of its weights, or a checkpoint file. None: those of the adapter, or the
            recommended ones.
        encoder: how frames become one vector, a key of `encoders.table.ENCODERS`. None: that of the adapter, or
            tempme, or mean for a model whose image tower is not of CLIP's kind.
        adapter: the name of a saved adapter, or its file. None, and "none": no adapter.
        num_frames: how many frames each clip has. None: those of the adapter, or 12.
        reading: what class tokens attend to once frames are joined, a key of `encoders.names.READINGS`. None: as the
            adapter was trained, or the model; "frame" if neither was trained on joined frames.
        device: "cpu", "cuda", "mps", or "auto" for the best there is.
        dtype: "float32", "bfloat16", "int8" for the image tower on a CPU, or "auto" for what is fastest on the device.
        announce: called with a line before a download begins.

    Raises:
        BadInput: there is no encoder of this name.
        ModelUnavailable: the weights are missing, do not load or cannot be fetched; the adapter is missing or was
            trained on something else; or the encoder needs an adapter.
        UnsupportedModel: vidfind cannot run the model, or the encoder needs another image tower.
    """
    choice = EncoderChoice(model, pretrained, encoder, adapter, num_frames, reading)
    return load_choice(choice, device, dtype, announce)


def load_choice(
    choice: EncoderChoice, device: str = "auto", dtype: str = "auto", announce: Callable[[str], None] = log.info
) -> Encoder:
    """The encoder that is asked for. Arguments and errors are those of `load_encoder`."""
    resolved = resolve(choice)
    check_can_merge(resolved.model, resolved.encoder)
    if choice.encoder and not resolved.adapter:
        check_needs_no_adapter(resolved.encoder, resolved.model)  # before anything is fetched for nothing
    return build(resolved, device, dtype, announce)


def build(
    resolved: ResolvedChoice,
    device: str = "auto",
    dtype: str = "auto",
    announce: Callable[[str], None] = log.info,
    whole: bool = False,
    weights: Path | None = None,
) -> Encoder:
    """Fetches the weights if need be, and loads them, the adapter on top. Errors are those of `load_encoder`.

    `whole`: also those parts of the model that are else read when they are needed. `weights`: their file, where it is
    known; then nothing is fetched, also no tokenizer."""
    model, pretrained, adapter = resolved.model, resolved.pretrained, resolved.adapter
    is_given = weights is not None
    weights = weights or find_weights(model, pretrained, announce)

    from vidfind.encoders.encoder import Encoder, choose_device
    from vidfind.encoders.table import reading_of
    from vidfind.models.adapter_file import read_adapter
    from vidfind.models.lora import fold_adapter, with_words
    from vidfind.precision.formats import choose_format, fastest_float, float_type
    from vidfind.precision.trial import Trial
    from vidfind.towers.families import has_int8_tower

    tokenizer = load_tokenizer(model, pretrained, weights, announce, later=is_given)
    device = choose_device(device)
    number_format = choose_format(dtype, device, tower_width(model))
    float_dtype = float_type(number_format)
    digest = weights_digest(model, weights, pretrained)
    parameters = read_adapter(TINY_POSITIONS).parameters() if weights == TINY_WEIGHTS else {}
    info = adapter.info if adapter else None
    if adapter and info:
        check_weights(info, model, pretrained, digest)
        parameters |= adapter.parameters()
        tokenizer = with_words(tokenizer, info.learned)
        digest = joint_digest(digest, info.video_digest)
    name = info.name if info else None
    reading = resolved.reading or reading_of(resolved.encoder, parameters)
    identity = EncoderIdentity(model, pretrained, digest, resolved.encoder, name, resolved.num_frames, reading)
    trial, kept = None, None
    if number_format == "int8":
        read = "" if reading == first_reading(resolved.encoder, resolved.num_frames) else f", reading {reading}"
        trial = Trial(f"{model} {digest}, {resolved.encoder}, {resolved.num_frames} frames{read}")
    with one_thread():  # of several, each waits for the slowest; there is little to compute
        if trial and not whole:
            kept = read_kept_tower(f"{model} {digest}", trial)
        is_mapped = number_format == "int8"  # it is read once, when the integers are made
        half = None if whole else load_image_half(model, pretrained, weights, float_dtype, is_mapped, adapter, kept)
        if half:
            clip: Any = half
        else:
            clip = load_clip(model, pretrained, weights, None if adapter else float_dtype)
            if adapter:
                fold_adapter(clip, adapter)
        if trial and dtype == "auto" and not has_int8_tower(clip):
            trial, float_dtype = None, float_type(fastest_float(device))
        if trial is None:
            return Encoder(clip, tokenizer, identity, parameters, device, float_dtype)
        towers = {trial.stage: tower_of_kept(clip, kept)} if half and kept else None
    keep = partial(keep_tower, half, f"{model} {digest}") if half and half.read_weights else None
    return Encoder(clip, tokenizer, identity, parameters, device, float_dtype, True, trial, towers, keep)


def read_kept_tower(weights: str, trial: Trial) -> dict[str, Tensor] | None:
    """The image tower in integers that was kept for a model, by its name and digest; None while a trial goes on."""
    from vidfind.precision.kept import read_tower, tower_key
    from vidfind.precision.trial import FLOAT32

    return read_tower(tower_key(weights, trial.stage)) if trial.is_over and trial.stage != FLOAT32 else None


def tower_of_kept(half: ImageHalf, kept: Mapping[str, Tensor]) -> Int8ClipTower:
    """The image tower in integers of tensors that `keep_tower` has kept."""
    from vidfind.precision.blocks import part_of
    from vidfind.towers.clip import Int8ClipTower

    names = dict.fromkeys(name.partition(".")[0] for name in kept)
    return Int8ClipTower(half, ((name, part_of(kept, name)) for name in names if name != VISUAL))


def keep_tower(half: ImageHalf, weights: str, stage: str, tower: Int8ClipTower) -> None:
    """Keeps an image tower in integers for other processes, and frees the memory of its weights in floats."""
    from vidfind.precision.integers import largest_weight
    from vidfind.precision.kept import tower_key, write_tower
    from vidfind.precision.trial import CAREFUL
    from vidfind.towers.clip import round_tower

    in_floats = tower.names_in_floats()
    with half.borrow_weights():
        parts = round_tower(half, largest_weight(), stage == CAREFUL)
        kept = {f"{part}.{name}": tensor for part, tensors in parts for name, tensor in tensors.items()}
        state = half.visual.state_dict()
        write_tower(tower_key(weights, stage), kept | {f"{VISUAL}.{name}": state[name] for name in in_floats})
    half.drop_weights(in_floats)


def tower_width(model: str) -> int:
    """The width of the image tower of a model, by its configuration; 0 if there is none: loading it raises."""
    config = model_config(model)
    return int(config["vision_cfg"].get("width", 768)) if config else 0


def load_for_training(
    choice: EncoderChoice, device: str = "auto", announce: Callable[[str], None] = log.info
) -> tuple[Encoder, Adapter | None]:
    """The encoder that is asked for in float32 but without its adapter, and that adapter, to go on from.

    Arguments and errors are those of `load_encoder`, but that no encoder needs an adapter yet."""
    resolved = resolve(choice)
    plain = build(replace(resolved, encoder="mean", adapter=None), device, "float32", announce, whole=True)
    if resolved.adapter and resolved.adapter.info:
        base = plain.identity
        check_weights(resolved.adapter.info, base.model, base.pretrained, base.weights_digest)
    return plain.with_encoder(resolved.encoder, resolved.reading), resolved.adapter


def weights_digest(model: str, weights: Path, pretrained: str = "") -> str:
    """The digest that tells the weights of a model from others, an adapter left out, and how they want pictures.

    `pretrained`: their name; it may be left out for a checkpoint file."""
    digest = joint_digest(fingerprint(weights), view_words(model, pretrained))
    is_own = model == TINY and weights == TINY_WEIGHTS  # these have temporal positions beside them
    return joint_digest(digest, fingerprint(TINY_POSITIONS)) if is_own else digest


def has_weights_of(identity: EncoderIdentity, pretrained: str, adapter: str | Path | None) -> bool:
    """Whether `pretrained` names the weights of an encoder, whatever it calls them. `adapter` is that of the encoder.

    Fetches nothing: False if they are not on this machine. Raises ModelUnavailable for unknown names."""
    weights, _ = look_for_weights(identity.model, pretrained)
    if weights is None:
        return False
    change = read_info(find_adapter(adapter)).video_digest if adapter else ""
    return joint_digest(weights_digest(identity.model, weights, pretrained), change) == identity.weights_digest


def load_image_half(
    model: str,
    pretrained: str,
    weights: Path,
    dtype: torch.dtype,
    is_mapped: bool = False,
    adapter: Adapter | None = None,
    kept: Mapping[str, Tensor] | None = None,
) -> ImageHalf | None:
    """The image tower of a model with its weights and an adapter, without open_clip where that can be.

    None for models of which all must be read. `is_mapped` is as in `read_image_half`. With an adapter the tower is in
    float32, whatever `dtype` says. `kept`: the tower in integers, beside which most weights are left in their file."""
    config = known_config(model, pretrained)
    if config is None:
        return None

    import torch
    from safetensors import safe_open

    from vidfind.models.lora import fold_adapter, fold_image_half
    from vidfind.precision.blocks import part_of

    def read_all() -> Any:
        clip = load_clip(model, pretrained, weights, None if adapter else dtype)
        if adapter:
            fold_adapter(clip, adapter)
        return clip

    try:
        if timm_tower(config):
            return None if adapter else read_timm_half(model, weights, dtype, read_all, as_trained(model, pretrained))
        if view_words(model, pretrained):
            return None
        is_inception = (model, pretrained) in INCEPTION_WEIGHTS

        def read_weights() -> Mapping[str, Tensor]:
            again = load_image_half(model, pretrained, weights, dtype, is_mapped, adapter) or read_all()
            state: Mapping[str, Tensor] = again.visual.state_dict()
            return state

        if kept and (tower := empty_tower(config, is_inception)) is not None:
            tower.load_state_dict(only(tower, part_of(kept, VISUAL)), assign=True)
            beside = ImageHalf(tower, read_all, is_dropped=True)
            beside.read_weights = read_weights
            return beside
        half = read_image_half(config, weights, torch.float32 if adapter else dtype, read_all, is_inception, is_mapped)
        if half and adapter:
            with safe_open(weights, "pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118, no mapping
            fold_image_half(half, adapter, shapes)
        if half:
            half.read_weights = read_weights
        return half
    except Exception as error:  # reading the whole model says what is wrong
        log.info("the image tower of %s is not read by itself: %s", weights, first_line(error))
        return None


def model_config(model: str) -> Mapping[str, Any] | None:
    """Returns open_clip's configuration of a model; None if there is no model of this name."""
    return read_config(TINY_FOLDER / "tiny.json") if model == TINY else open_clip_config(model)


def known_config(model: str, pretrained: str) -> Mapping[str, Any] | None:
    """Returns open_clip's configuration of a model; None if its weights need more than that to be read."""
    if model != TINY and not (pretrained.endswith(SAFETENSORS) or known_hub(model, pretrained)):
        return None
    config = model_config(model)
    return {**config, "quick_gelu": True} if config and pretrained == OPENAI else config


def load_tokenizer(
    model: str, pretrained: str, weights: Path, announce: Callable[[str], None] = log.info, later: bool = False
) -> PaddedTokenizer:
    """The tokenizer of a model of open_clip, which is read when the first text comes.

    The file that some models need for it is fetched now if the weights are those of the hub; for the user's own
    weights, or with `later`, when it is needed. Raises ModelUnavailable."""
    config = model_config(model)
    if config is None:
        check_model(model)
        config = import_open_clip().get_model_config(model)

    def find() -> Path | None:
        return find_tokenizer(model, config, weights, announce)

    if not later and not is_path(pretrained):
        find()
    return PaddedTokenizer(lambda: make_tokenizer(config, find()))


def load_clip(model: str, pretrained: str, weights: Path, dtype: torch.dtype | None = None) -> Any:
    """open_clip's model with its weights, of `dtype` if it can be read so.

    Raises ModelUnavailable when they do not fit together."""
    open_clip = import_open_clip()
    import torch

    if model == TINY:
        open_clip.add_model_config(TINY_FOLDER / "tiny.json")
    check_model(model)
    config = open_clip.get_model_config(model)
    check_config(config, model)
    import_open_clip(timm_tower(config))
    options = as_trained(model, pretrained)
    try:
        clip = read_plain_clip(model, weights, dtype or torch.float32, options) or open_clip.create_model(
            model,
            pretrained=str(weights.absolute()),  # a file may be called like a tag
            weights_only=True,  # no code in the file is run
            **options,
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
    return clip
