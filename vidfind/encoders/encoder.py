"""Frames and text to embeddings: a CLIP of open_clip, one encoder of the table, a device and a number format.

Knows nothing of files, indexes or where weights come from.
Letters as in tokens.py: B clips, T frames a clip, S pixels, C width, D embedding size.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.encoders.clusters import NotFinite
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tokens import Backbone
from vidfind.encoders.towers import check_image_tower, embed_patches, encode_frames, encode_tokens, has_plain_text_tower
from vidfind.errors import DeviceMissing, ModelUnavailable, UnsupportedModel

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
        tokenizer: Callable[..., Tensor],
        identity: EncoderIdentity,
        parameters: Mapping[str, Tensor] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`parameters`: what the encoder was trained with beside the model, by the names in an adapter.

        Raises UnsupportedModel when the image tower is not a plain vision transformer, or the encoder needs another.
        """
        check_image_tower(model, identity.model)
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
        self.image_size = int(model.visual.image_size[0])
        self.dim = int(model.visual.output_dim)
        mean, std = (torch.tensor(getattr(model.visual, name)) for name in ("image_mean", "image_std"))
        on_cpu = self.device.type == "cpu"
        # Of a GPU's two, one is under way to it while it works on the other.
        self.lanes = torch.get_num_threads() if on_cpu else 2 if self.device.type == "cuda" else 1
        """How many batches are best encoded at a time: on a CPU one on each core."""
        self.batch_size = CLIPS_A_BATCH if on_cpu else CLIPS_A_BATCH_ON_DEVICE
        self.checkpointing = False
        """Whether training holds the activations of one block at a time, and computes the others again."""
        self._mean, self._std = mean.to(self.device), std.to(self.device)

    @property
    def backbone(self) -> Backbone:
        return Backbone(self.model, self.identity.num_frames, self.parameters)

    @torch.inference_mode()
    def encode_video(self, clips: np.ndarray | Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 RGB -> (B, D) unit vectors, float32 on the CPU."""
        frames = torch.as_tensor(clips)
        if self.device.type == "cuda":
            frames = frames.pin_memory()  # only from there a copy does not hold up what the GPU is at
        frames = frames.to(self.device, non_blocking=True)
        return self._unit(self.video_features(frames))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, D) unit vectors, float32 on the CPU. Texts too long for the model are cut."""
        ids = self.tokenizer(list(texts)).to(self.device)
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
            f"on {self.device} in {str(self.dtype).removeprefix('torch.')}. Try --dtype float32, or --device cpu."
        )

    def video_features(self, clips: Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, D), with gradients; not of unit length."""
        cls = self._class_tokens(clips)
        return self.reduction.pool(cls, cls @ self.model.visual.proj)

    def frame_features(self, clips: Tensor) -> Tensor:
        """(B, T, S, S, 3) uint8 on the device -> (B, M, D), with gradients: the class tokens left, projected."""
        features: Tensor = self._class_tokens(clips) @ self.model.visual.proj
        return features

    def _class_tokens(self, clips: Tensor) -> Tensor:
        visual = self.model.visual
        x = embed_patches(visual, clips.flatten(0, 1), self._mean, self._std)
        try:
            return encode_frames(visual, x, self.reduction, clips.shape[1], self.checkpointing)
        except NotFinite as error:
            raise self._not_finite() from error

    def copy(self) -> "Encoder":
        """The same encoder with weights of its own, which stay when this one is trained."""
        parameters = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        return Encoder(copy.deepcopy(self.model), self.tokenizer, self.identity, parameters, self.device, self.dtype)

    def with_encoder(self, name: str) -> "Encoder":
        """The same model, weights shared, with another encoder of the table, as it is before training.

        Raises UnsupportedModel when it needs another model."""
        identity = replace(self.identity, encoder=name)
        other = Encoder(self.model, self.tokenizer, identity, self.parameters, self.device, self.dtype)
        for key, tensor in ENCODERS[name].parameters(other.backbone).items():
            other.parameters.setdefault(key, tensor.to(self.device, self.dtype))
        return other

    def text_features(self, ids: Tensor) -> Tensor:
        """(N, length) token ids -> (N, D), with gradients; not of unit length."""
        if not has_plain_text_tower(self.model):
            features: Tensor = self.model.encode_text(ids)
            return features
        return encode_tokens(self.model, ids)


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
