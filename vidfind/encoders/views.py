"""How the weights of models want pictures prepared, known without open_clip, and digests that hold it.

Imports no PyTorch."""

import hashlib
from fnmatch import fnmatchcase

from vidfind.encoders.names import is_path

SQUASHED = ("PE-Core-*/*", "*SigLIP*/*", "*-siglip/*", "*CLIPA*/*", "ViT-H-14*/dfn5b", "ViT-*-378*/*")
"""Models / weights that see all of a picture, squashed to a square; all others see its middle. Names as in a shell."""
BILINEAR = ("PE-Core-*/*", "*CLIPA*/*", "MobileCLIP-*/*", "MobileCLIP2-[BS]*/*")
"""Models / weights that want pixels interpolated linearly; all others by cubic curves."""


def view_words(model: str, pretrained: str) -> str:
    """Returns how weights want pictures prepared, where not as CLIP does: "squashed bilinear"; empty where they do.

    Known without open_clip; a checkpoint file is taken as what all weights of its model agree on."""
    name = f"{model}/{'' if is_path(pretrained) else pretrained}"
    kinds = {"squashed": SQUASHED, "bilinear": BILINEAR}
    return " ".join(word for word, names in kinds.items() if any(fnmatchcase(name, one) for one in names))


def joint_digest(weights: str, change: str) -> str:
    """The digest of weights with a change on top; theirs alone where the change leaves video vectors as they are."""
    return hashlib.sha256((weights + change).encode()).hexdigest()[:32] if change else weights
