"""The names of the encoders, what a user asks for, and what an encoder is.

Imports no PyTorch, so that `vidfind --help` stays instant.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vidfind.system.paths import NO_ADAPTER

EncoderName = Literal["tempme", "tempme-fast", "mean", "tome", "centerclip", "centerclip-spectral", "tfvl"]
"""The keys of `encoders.table.ENCODERS`."""
ENCODER_NAMES = get_args(EncoderName)
Reading = Literal["clip", "frame", "parts"]
"""What a class token attends to once frames are joined. "clip": all tokens of the joined frames, as TempMe's authors
have it. "frame": its own frame alone, the only way that a model understands which was not trained on joined frames.
"parts": as "clip", but clips of 16 frames or more never become one sequence, as earlier versions of vidfind had it."""
READINGS = get_args(Reading)
DEFAULT_NUM_FRAMES = 12


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder that a user asks for. None: not asked for; then the adapter, the index or a default decides.

    `models.choice.resolve` decides.

    >>> from vidfind import EncoderChoice
    >>> asked = EncoderChoice("ViT-B-16", adapter="none")
    >>> asked.or_else(EncoderChoice("ViT-B-32", encoder="mean", adapter="home"))
    EncoderChoice(model='ViT-B-16', pretrained=None, encoder='mean', adapter='none', num_frames=None, reading=None)
    """

    model: str | None = None
    """open_clip's name."""
    pretrained: str | None = None
    """open_clip's name of the weights, or a checkpoint file."""
    encoder: str | None = None
    """A key of `encoders.table.ENCODERS`."""
    adapter: str | Path | None = None
    """The name of a saved adapter, or its file. `paths.NO_ADAPTER`: none is wanted, which is not the same as None."""
    num_frames: int | None = None
    """How many frames of a clip are encoded."""
    reading: str | None = None
    """A `Reading`, where an index has one. An adapter is always used as it was trained."""

    @property
    def wanted_adapter(self) -> str | Path | None:
        """The adapter to load; None where none is asked for, or none is wanted."""
        return None if self.adapter == NO_ADAPTER else self.adapter

    def or_else(self, other: EncoderChoice) -> EncoderChoice:
        """This choice, with what is not asked for taken from `other`."""
        return EncoderChoice(
            self.model or other.model,
            self.pretrained or other.pretrained,
            self.encoder or other.encoder,
            self.adapter or other.adapter,
            self.num_frames or other.num_frames,
            self.reading or other.reading,
        )

    def over(self, identity: EncoderIdentity) -> EncoderIdentity:
        """The identity wanted: `identity`, but for what is asked for."""
        adapter = identity.adapter if self.adapter is None else str(self.adapter)
        return EncoderIdentity(
            self.model or identity.model,
            self.pretrained or identity.pretrained,
            identity.weights_digest,
            self.encoder or identity.encoder,
            None if adapter == NO_ADAPTER else adapter,
            self.num_frames or identity.num_frames,
            self.reading or identity.reading,
        )


@dataclass(frozen=True)
class EncoderIdentity:
    """Everything that must be equal for two vectors to be comparable."""

    model: str
    pretrained: str
    weights_digest: str
    encoder: str
    adapter: str | None
    """The name of the adapter; None without one."""
    num_frames: int
    reading: str = "clip"
    """A `Reading`; "clip" also for an encoder that joins no frames."""


def first_reading(encoder: str, num_frames: int) -> Reading:
    """Returns the reading of an index or adapter that does not name any, as it was made when there was but one."""
    return "parts" if encoder.startswith("tempme") and num_frames not in (8, 12) else "clip"


def is_lost_file(pretrained: str) -> bool:
    """Whether weights are called by the path of a checkpoint file, and none is there."""
    return is_path(pretrained) and not Path(pretrained).expanduser().is_file()


def is_path(pretrained: str) -> bool:
    """Whether weights are called by a path, and not by open_clip's name."""
    return bool(Path(pretrained).suffix) or "/" in pretrained or "\\" in pretrained


def lasting_name(pretrained: str) -> str:
    """Returns the absolute path of a checkpoint file that is there, so that it is found from every folder.

    Any other name of weights is returned unchanged."""
    file = Path(pretrained).expanduser()
    return os.path.abspath(file) if file.is_file() else pretrained
