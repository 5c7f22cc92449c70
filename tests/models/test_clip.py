"""Models of open_clip, read lean."""

from __future__ import annotations

import subprocess
import sys


def test_a_model_is_read_without_the_compiler() -> None:
    code = (
        "import sys; from vidfind.models.load import load_encoder; encoder = load_encoder('tiny', device='cpu'); "
        "print(len(encoder.encode_text(['a red circle'])), 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 False"
