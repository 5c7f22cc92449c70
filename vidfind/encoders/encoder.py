"""Frames and text to embeddings: a CLIP of open_clip, one encoder of the table, a device and a number format.

Knows nothing of files, indexes or where weights come from.
Letters as in towers/tokens.py: B clips, T frames a clip, S pixels, C width, D embedding size.
"""

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.encoders.backbone import Backbone
from vidfind.encoders.clusters import NotFinite
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.table import ENCODERS, reading_of
from vidfind.errors import DeviceMissing, ModelUnavailable, UnsupportedModel
from vidfind.media.sampling import View
from vidfind.precision.integers import largest_weight
from vidfind.precision.trial import CAREFUL, FLOAT32, INT8, Trial
from vidfind.system.machine import give_back_memory, one_thread
from vidfind.text.padded import PaddedTokenizer
from vidfind.towers.families import has_int8_tower, image_tower, int8_tower
from vidfind.towers.loop import Tower, encode_frames
from vidfind.towers.text import encode_tokens, has_plain_text_tower, lean
from vidfind.towers.whole import WholeTower, embedding_size

# What one core holds in its cache best; larger ones were no quicker.
CLIPS_A_BATCH = 4
# Enough to fill a GPU: 384 frames.
CLIPS_A_BATCH_ON_DEVICE = 32


class Encoder:
    """A CLIP of open_clip that turns clips and text into vectors of one space.

    >>> import numpy as np
    >>> from vidfind import load_encoder
    >>> encoder = load_encoder("tiny")
    >>> clips = np.zeros((2, encoder.num_frames, encoder.image_size, encoder.image_size, 3), np.uint8)
    >>> scores = encoder.encode_video(clips) @ encoder.encode_text(["a red circle"]).T
    >>> scores.shape
    torch.Size([2, 1])
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PaddedTokenizer,
        identity: EncoderIdentity,
        parameters: Mapping[str, Tensor] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        int8: bool = False,
        trial: Trial | None = None,
        towers: Mapping[str, Tower] | None = None,
        keep: Callable[[str, Tower], None] | None = None,
    ) -> None:
        """`parameters`: what the encoder was trained with beside the model, by the names in an adapter. `int8`: encodes
        videos with products of 8-bit integers, after a `trial` if there is one; the rest stays in float32. `towers`:
        those in integers that were made before, by the stage of the trial. `keep`: called once with a stage and its
        tower when the trial is over, unless it was made before.

        Raises UnsupportedModel when the encoder, or int8, needs another image tower.
        """
        self.tower = image_tower(model)
        if isinstance(self.tower, WholeTower) and not ENCODERS[identity.encoder].runs_whole:
            raise UnsupportedModel(
                f"{identity.encoder} merges tokens, and the image tower of {identity.model} {self.tower.reason}: "
                "it can be used with --encoder mean."
            )
        if int8 and not has_int8_tower(model):
            why = self.tower.reason if isinstance(self.tower, WholeTower) else "has blocks of another kind"
            raise UnsupportedModel(
                f"{identity.model} cannot be used in int8: its image tower {why}. Leave out --dtype, or use "
                "--dtype float32."
            )
        self.identity = identity
        self.device = torch.device(device)
        self.dtype = dtype
        self.model = model.to(device=self.device, dtype=dtype).eval()
        self.tokenizer = tokenizer
        self.parameters = {name: tensor.to(self.device, dtype) for name, tensor in (parameters or {}).items()}
        try:
            self.reduction = ENCODERS[identity.encoder].reduction(self.backbone)
        except ValueError as error:
            raise UnsupportedModel(
                f"{identity.model} cannot be used with the {identity.encoder} encoder: {error}."
            ) from error
        self.num_frames = identity.num_frames
        self.view = view_of(model.visual)
        """The picture of a frame that the model sees."""
        self.dim = embedding_size(model.visual)
        on_cpu = self.device.type == "cpu"
        # Of a GPU's two, one is under way to it while it works on the other.
        self.lanes = torch.get_num_threads() if on_cpu else 2 if self.device.type == "cuda" else 1
        """How many batches are best encoded at a time: on a CPU one on each core."""
        self.batch_size = CLIPS_A_BATCH if on_cpu else CLIPS_A_BATCH_ON_DEVICE
        self.checkpointing = False
        """Whether training holds the activations of one block at a time, and computes the others again."""
        self.int8, self.trial = int8, trial
        self._towers = dict(towers or {})
        """By the stage of the trial; made when they are needed."""
        self._keep = None if towers else keep
        self._making = threading.Lock()

    @property
    def image_size(self) -> int:
        """S."""
        return self.view.size

    @property
    def backbone(self) -> Backbone:
        return Backbone(self.tower, self.identity.num_frames, self.parameters, self.model, self.identity.reading)

    @torch.inference_mode()
    def encode_video(self, clips: np.ndarray | Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 RGB -> (B, D) unit vectors, float32 on the CPU."""
        frames = torch.as_tensor(clips)
        if self.device.type == "cuda":
            frames = frames.pin_memory()  # only from there a copy does not hold up what the GPU is at
        frames = frames.to(self.device, non_blocking=True)
        if not self.int8:
            return self._unit(self.video_features(frames))
        # One at a time: what integers stand for must not depend on the other clips.
        return torch.cat([self._encode_int8(clip) for clip in frames.split(1)])

    def _encode_int8(self, clip: Tensor) -> Tensor:
        """(1, T, S, S, 3) uint8 -> (1, D): in 8-bit integers, in float32, or in both if the trial is not over."""
        stage = self.trial.stage if self.trial else INT8
        is_tried = self.trial is not None and not self.trial.is_over
        if stage == FLOAT32:
            return self._unit(self.video_features(clip))
        if not is_tried:
            return self._unit(self.video_features(clip, self._int8_tower(stage)))
        exact = self._unit(self.video_features(clip))
        tried = self._unit(self.video_features(clip, self._int8_tower(stage)))
        if self.trial:
            self.trial.add(stage, float((exact * tried).sum()))
        return exact

    def _int8_tower(self, stage: str) -> Tower:
        with self._making:
            if stage not in self._towers:
                with self._weights_in_memory():
                    self._towers[stage] = int8_tower(self.model, largest_weight(), stage == CAREFUL)
                give_back_memory()  # the weights before they were rounded
            tower = self._towers[stage]
            if self._keep and self.trial and self.trial.is_over:
                keep, self._keep = self._keep, None
                keep(stage, tower)
                self._towers = {stage: tower}
                give_back_memory()
            return tower

    def _weights_in_memory(self) -> AbstractContextManager[None]:
        """Inside, the weights of the image tower are there in floats; a model may have left them in their file."""
        borrow = getattr(type(self.model), "borrow_weights", None)
        return borrow(self.model) if borrow else nullcontext()

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, D) unit vectors, float32 on the CPU. Texts too long for the model are cut."""
        ids = self.tokenizer(list(texts)).to(self.device)
        with one_thread():  # of several, each waits for the slowest, and spins where others are at work
            return self._unit(self.text_features(ids))

    def _unit(self, features: Tensor) -> Tensor:
        """Raises ModelUnavailable for what has no direction: such vectors would be found by nothing, or by all."""
        vectors = F.normalize(features.float(), dim=-1).cpu()
        if not vectors.isfinite().all():
            raise self._not_finite()
        return vectors

    def _not_finite(self) -> ModelUnavailable:
        return ModelUnavailable(
            f"{self.identity.model} / {self.identity.pretrained} gives numbers that are not finite, "
            f"on {self.device} in {self.number_format}. Try --dtype float32, or --device cpu."
        )

    @property
    def number_format(self) -> str:
        """The name of the format, one of `precision.formats.FORMATS`."""
        return "int8" if self.int8 else str(self.dtype).removeprefix("torch.")

    def describe_format(self) -> str:
        """The format in words that begin with the name of that in use, and what a trial of int8 has found."""
        return self.trial.describe() if self.trial else self.number_format

    def video_features(self, clips: Tensor, int8: Tower | None = None) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, D), not of unit length; with gradients, unless in `int8`."""
        tower = int8 or self.tower
        with nullcontext() if int8 else self._weights_in_memory():
            read = self._read(clips, tower)
            return self.reduction.pool(read, tower.project(read))

    def frame_features(self, clips: Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, M, D), with gradients: what a clip is read from, projected."""
        with self._weights_in_memory():
            return self.tower.project(self._read(clips, self.tower))

    def _read(self, clips: Tensor, tower: Tower) -> Tensor:
        try:
            return encode_frames(tower, clips.flatten(0, 1), self.reduction, clips.shape[1], self.checkpointing)
        except NotFinite as error:
            raise self._not_finite() from error

    def copy(self) -> "Encoder":
        """The same encoder in floats, which stays when this one is trained: it shares the frozen weights alone."""
        parameters = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        frozen = {id(weight): weight for weight in self.model.parameters() if not weight.requires_grad}
        model = copy.deepcopy(self.model, frozen)
        return Encoder(model, self.tokenizer, self.identity, parameters, self.device, self.dtype)

    def with_encoder(self, name: str, reading: str | None = None) -> "Encoder":
        """The same model, weights shared, with another encoder of the table, as it is before training.

        `reading`: a `names.Reading`; None: the one that suits the model. Raises UnsupportedModel when it needs another
        model."""
        identity = replace(self.identity, encoder=name, reading=reading or reading_of(name, self.parameters))
        other = Encoder(self.model, self.tokenizer, identity, self.parameters, self.device, self.dtype, self.int8)
        other._towers = self._towers
        for key, tensor in ENCODERS[name].parameters(other.backbone).items():
            other.parameters.setdefault(key, tensor.to(self.device, self.dtype))
        return other

    def text_features(self, ids: Tensor) -> Tensor:
        """(N, length) token ids -> (N, D), with gradients; not of unit length."""
        if not has_plain_text_tower(self.model):
            return lean(self.model, self.model.encode_text(ids), ids)
        return lean(self.model, encode_tokens(self.model, ids), ids)


def view_of(visual: Any) -> View:
    """The picture of a frame that an image tower was trained on, by open_clip's settings of its weights.

    A tower of timm that takes pictures of one size alone gets those, whatever open_clip says: that of ViTamin-XL-384
    takes 384 pixels, and open_clip says 256. Raises UnsupportedModel for pictures that are not square."""
    patches: Any = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    size = patches.img_size if getattr(patches, "strict_img_size", False) else visual.image_size
    settings = getattr(visual, "preprocess_cfg", {})
    width, height = size if isinstance(size, Sequence) else (size, size)
    if width != height or settings.get("resize_mode") == "longest":
        raise UnsupportedModel(f"Pictures for this model are {width} by {height}: vidfind makes square ones alone.")
    return View(int(width), settings.get("resize_mode") == "squash", settings.get("interpolation") == "bilinear")


EncoderLoader = Callable[[EncoderChoice], Encoder]
"""Loads the encoder that a user asks for, on the device and in the number format that suit this machine."""


def choose_device(device: str) -> str:
    """The device to run on: `device` itself, or for "auto" the best there is.

    Raises DeviceMissing for one that this machine, or its PyTorch, does not have."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except Exception as error:  # RuntimeError, AssertionError, NotImplementedError: each kind of device has its own
        if device.startswith("cuda") and torch.cuda.is_available():
            raise DeviceMissing(f"The GPU cannot be used: {str(error).splitlines()[0]}. Use --device cpu.") from error
        kind = {"cuda": "CUDA GPU", "mps": "Apple GPU"}.get(device, f"device {device!r}")
        raise DeviceMissing(f"This machine has no {kind}. Use --device auto or cpu.") from error
    return device
