"""open_clip is imported without what vidfind has no use for, and nothing of that is in the way of others."""

from __future__ import annotations

import subprocess
import sys


def python(code: str) -> str:
    """What a Python of its own prints: what is imported here already cannot be imported again."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


IMPORTED = "import sys; from vidfind.models.clip import import_open_clip; open_clip = import_open_clip(); "


def test_models_are_made_without_the_compiler_and_without_timm() -> None:
    seen = python(
        IMPORTED + "model = open_clip.create_model('ViT-B-32', pretrained='', load_weights=False); "
        "print(type(model.visual).__name__, sorted({'timm', 'torch._dynamo', 'triton'} & set(sys.modules)))"
    )
    assert seen == "VisionTransformer []"


def test_what_was_left_out_can_be_imported_afterwards() -> None:
    code = (
        "import timm, torch._dynamo, torchvision.ops; print(hasattr(torch._dynamo, 'disable'), hasattr(timm, 'models'))"
    )
    assert python(IMPORTED + code) == "True True"


def test_what_is_there_already_stays() -> None:
    code = "import timm, sys; before = sys.modules['timm']; " + IMPORTED + "print(sys.modules['timm'] is before)"
    assert python(code) == "True"


def test_where_more_is_needed_all_is_imported() -> None:
    """As with a torchvision that needs more of the compiler."""
    code = (
        "import vidfind.models.clip as library; library.COMPILER = 'torch'; print(library.import_open_clip().__name__)"
    )
    assert python(code) == "open_clip"


def test_a_model_is_read_without_the_compiler() -> None:
    seen = python(
        "import sys; from vidfind.models.load import load_encoder; encoder = load_encoder('tiny', device='cpu'); "
        "print(len(encoder.encode_text(['a red circle'])), 'torch._dynamo' in sys.modules)"
    )
    assert seen == "1 False"
