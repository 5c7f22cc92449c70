"""Where weights come from, and what is said when they do not come."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from small_adapters import save_adapter

from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.paths import adapter_path
from vidfind.registry import MODELS, TINY, find_weights, hub_files, list_models, load_encoder


@pytest.mark.parametrize(
    "entry", [entry for entry in MODELS if entry.model != TINY], ids=lambda entry: entry.pretrained
)
def test_the_table_of_models_agrees_with_open_clip(entry: object) -> None:
    tag = open_clip.get_pretrained_cfg(entry.model, entry.pretrained)
    assert hub_files(tag["hf_hub"]) == hub_files(entry.hub)


def test_the_tiny_model_is_always_there() -> None:
    tiny = next(entry for entry in list_models() if entry.model == TINY)
    assert tiny.path is not None and tiny.path.is_file() and tiny.size_bytes > 1_000_000


def test_a_checkpoint_file_loads_and_its_content_is_its_identity(tmp_path: Path) -> None:
    config = {**open_clip.get_model_config("ViT-B-32")}
    config["vision_cfg"] = {**config["vision_cfg"], "width": 64, "layers": 6, "head_width": 32}
    config["text_cfg"] = {**config["text_cfg"], "width": 64, "heads": 2, "layers": 2}
    digests = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"seed{seed}.safetensors"
        save_file(open_clip.CLIP(**config).state_dict(), path)
        with small_vit_b_32(config):
            encoder = load_encoder("ViT-B-32", str(path), device="cpu")
        assert encoder.identity.pretrained == str(path) and encoder.identity.encoder == "tempme"
        digests.append(encoder.identity.weights_digest)
    assert digests[0] != digests[1]


class small_vit_b_32:
    """Within it, open_clip's ViT-B-32 has the shape of `config`: the loading code is the same, the file is small."""

    def __init__(self, config: dict) -> None:
        self.config = config

    def __enter__(self) -> None:
        self.before = open_clip.factory._MODEL_CONFIGS["ViT-B-32"]
        open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = self.config

    def __exit__(self, *_: object) -> None:
        open_clip.factory._MODEL_CONFIGS["ViT-B-32"] = self.before


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("ViT-B32", None, "no model called ViT-B32.*ViT-B-32"),
        ("ViT-B-32", "laion9b", "no weights called laion9b.*laion2b_s34b_b79k"),
        ("ViT-B-32", "nowhere/model.pt", "no checkpoint file nowhere/model.pt"),
        ("ViT-L-14-336", "nothing", "no weights called nothing"),
    ],
)
def test_a_name_that_is_wrong_is_told_with_the_right_ones(model: str, pretrained: str | None, says: str) -> None:
    with pytest.raises(ModelUnavailable, match=says):
        load_encoder(model, pretrained)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ModelUnavailable, match=r"broken\.safetensors does not load as weights of ViT-B-32"):
        load_encoder("ViT-B-32", str(path))


def test_an_adapter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"no adapter 'home' \(there is none yet\)"):
        load_encoder(TINY, adapter="home", device="cpu")
    save_adapter(adapter_path("garden"))
    with pytest.raises(ModelUnavailable, match=r"no adapter 'home' \(there is: garden\)"):
        load_encoder(TINY, adapter="home", device="cpu")


def test_the_tiny_model_loads_with_both_encoders() -> None:
    for name in ("tempme", "mean"):
        encoder = load_encoder(TINY, encoder=name, device="cpu", dtype="float32")
        clip = torch.zeros(1, encoder.num_frames, encoder.image_size, encoder.image_size, 3, dtype=torch.uint8)
        assert encoder.encode_video(clip).shape == encoder.encode_text(["a red circle"]).shape == (1, encoder.dim)


FIND_DEFAULT = """
from vidfind.errors import ModelUnavailable
from vidfind.registry import find_weights
try:
    print(find_weights("ViT-B-32", "laion2b_s34b_b79k", print))
except ModelUnavailable as error:
    print("unavailable:", error)
import sys
assert "torch" not in sys.modules
"""


def find_default(tmp_path: Path, endpoint: str) -> tuple[str, float]:
    """What looking for the default model says, and how long it takes, with an empty cache and this hub."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", FIND_DEFAULT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - started


def test_without_a_network_one_error_says_what_to_bring(tmp_path: Path) -> None:
    said, seconds = find_default(tmp_path, "http://127.0.0.1:9")  # the discard port: nothing listens
    assert said.startswith("unavailable: ViT-B-32 / laion2b_s34b_b79k is not on this machine")
    assert "open_clip_model.safetensors" in said and "--pretrained FILE" in said
    assert len(said.splitlines()) == 1
    assert seconds < 10  # no minute of retries; how fast it is on a quiet machine is measured, not tested


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as a download asks for."""

    weights = b"weights" * 1000

    def do_HEAD(self) -> None:
        known = self.path == "/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/open_clip_model.safetensors"
        self.send_response(200 if known else 404)
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.weights)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.weights)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    """A hub on this machine, as the real one cannot be reached from a test."""
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_says_its_size_first_and_happens_once(tmp_path: Path, hub: str) -> None:
    said, _ = find_default(tmp_path, hub)
    announced, path = said.splitlines()
    assert announced.startswith("Downloading ViT-B-32 / laion2b_s34b_b79k (0 MB, once) to ")
    assert Path(path).read_bytes() == Hub.weights
    again, _ = find_default(tmp_path, "http://127.0.0.1:9")
    assert again.splitlines() == [path]


def test_an_image_tower_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rn50.pt"
    torch.save(open_clip.create_model("RN50", load_weights=False).state_dict(), path)
    with pytest.raises(UnsupportedModel, match="RN50"):
        load_encoder("RN50", str(path), device="cpu")


def test_find_weights_takes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.touch()
    assert find_weights("ViT-B-32", str(path)) == path
