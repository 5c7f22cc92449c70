"""The names of the encoders. Imports no PyTorch, so that `vidfind --help` stays instant."""

from typing import Literal

EncoderName = Literal["tempme", "tempme-fast", "mean", "tome", "centerclip", "centerclip-spectral", "tfvl"]
"""The keys of `encoders.table.ENCODERS`."""
