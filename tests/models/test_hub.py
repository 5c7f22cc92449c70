"""Downloads of weights: what is said before, during and instead of them, and what is left in the cache."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.models.hub import find_weights, first_answer, look_for_weights

NO_NETWORK = "http://127.0.0.1:9"  # the discard port: nothing listens
FIND_DEFAULT = """
import sys, time
slept = []
time.sleep = slept.append
from vidfind.errors import ModelUnavailable
from vidfind.models import hub
hub.PATIENCE = float(sys.argv[1])
from vidfind.models.load import find_weights
try:
    print(find_weights("ViT-B-32", "laion2b_s34b_b79k", print))
except ModelUnavailable as error:
    print("unavailable:", error)
assert "torch" not in sys.modules
print(sum(slept), file=sys.stderr)
"""


def find_default(tmp_path: Path, endpoint: str, patience: float = 99, **settings: Any) -> tuple[str, float]:
    """What looking for the default model says with this cache and this hub, and how many seconds it would sleep."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HUB_DOWNLOAD_TIMEOUT": "120", **settings}  # on a busy machine, a hub takes a while to answer
    command = [sys.executable, "-c", FIND_DEFAULT, str(patience)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, float(done.stderr.splitlines()[-1])


def test_a_slow_hub_is_waited_for_as_long_as_the_settings_say(tmp_path: Path, hub: str) -> None:
    Hub.delay = 0.3
    waiting, announced, path = find_default(tmp_path, hub, patience=0.1)[0].splitlines()[-3:]
    assert waiting == f"Waiting for {hub}, 120 seconds at most (HF_HUB_ETAG_TIMEOUT=60 waits longer)"
    assert announced.startswith("Downloading") and Path(path).is_file()


def test_a_hub_that_does_not_answer_in_time_is_given_up() -> None:
    answered = threading.Event()
    assert first_answer(answered.wait, 0.05, lambda: None) is None
    answered.set()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"HF_HUB_ETAG_TIMEOUT": "a minute"}, "HF_HUB_ETAG_TIMEOUT=a minute: give whole seconds"),
        ({"HTTP_PROXY": "http://me:secret@127.0.0.1:9", "NO_PROXY": ""}, "through the proxy 127.0.0.1, as HTTP_PROXY"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids fetching it"),
    ],
    ids=["timeout", "proxy", "offline"],
)
def test_a_setting_that_keeps_the_hub_away_is_named(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    said, _ = find_default(tmp_path, NO_NETWORK, **settings)
    assert says in said and "secret" not in said and len(said.splitlines()) == 1


def test_without_a_network_one_error_says_what_to_bring(tmp_path: Path) -> None:
    said, slept = find_default(tmp_path, NO_NETWORK)
    assert said.startswith("unavailable: ViT-B-32 / laion2b_s34b_b79k is not on this machine")
    assert "open_clip_model.safetensors" in said and "--pretrained FILE" in said
    assert len(said.splitlines()) == 1
    assert slept < 10  # no minute of retries


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as a download asks for: it names the SHA-256 of `weights`, and sends what is in `sent`."""

    weights = save({"weight": torch.arange(1000.0)})
    sent: Sequence[bytes] = ()  # one after another, then `weights`
    delay = 0.0  # seconds, before each answer

    def do_HEAD(self) -> None:
        time.sleep(self.delay)
        known = self.path == "/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/open_clip_model.safetensors"
        self.send_response(200 if known else 404)
        self.send_header("ETag", f'"{hashlib.sha256(self.weights).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.weights)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.endswith(".safetensors"):  # and not the client's questions about the repository
            content, *Hub.sent = (*Hub.sent, self.weights)
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    """A hub on this machine, as the real one cannot be reached from a test."""
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    Hub.sent, Hub.delay = (), 0.0


def test_a_download_says_its_size_first_and_happens_once(tmp_path: Path, hub: str) -> None:
    said, _ = find_default(tmp_path, hub)
    announced, path = said.splitlines()
    assert announced.startswith("Downloading ViT-B-32 / laion2b_s34b_b79k (0 MB, once) to ")
    assert Path(path).read_bytes() == Hub.weights
    again, _ = find_default(tmp_path, NO_NETWORK)
    assert again.splitlines() == [path]


SPOILED = Hub.weights[:-4] + b"\0\0\0\0"


def files_in(cache: Path) -> list[str]:
    """The weights in a cache, and half downloads of them."""
    folder = cache / "hub" / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    return sorted(
        path.name for name in ("blobs", "snapshots") for path in folder.glob(f"{name}/**/*") if path.is_file()
    )


def test_a_download_with_another_digest_is_removed_and_fetched_once_more(tmp_path: Path, hub: str) -> None:
    Hub.sent = [SPOILED]
    announced, again, path = find_default(tmp_path, hub)[0].splitlines()
    assert announced.startswith("Downloading") and again.startswith("The download is damaged (its SHA-256 is ")
    assert again.endswith("It is removed, and downloaded once more.")
    assert Path(path).read_bytes() == Hub.weights


def test_a_download_that_is_damaged_twice_is_an_error_and_leaves_nothing_behind(tmp_path: Path, hub: str) -> None:
    Hub.sent = [SPOILED, SPOILED]
    said = find_default(tmp_path, hub)[0].splitlines()[-1]
    assert said.startswith("unavailable: ViT-B-32 / laion2b_s34b_b79k is not on this machine")
    assert "the downloaded file is damaged" in said and "--pretrained FILE" in said
    assert files_in(tmp_path) == []


def test_a_download_that_stops_short_is_an_error_and_leaves_nothing_behind(tmp_path: Path, hub: str) -> None:
    Hub.sent = [Hub.weights[:1000]] * 20  # the hub's client tries a few times
    said = find_default(tmp_path, hub)[0].splitlines()[-1]
    assert said.startswith("unavailable: ViT-B-32") and "the download failed" in said
    assert files_in(tmp_path) == []


def test_broken_weights_in_the_cache_are_removed_and_fetched_anew(tmp_path: Path, hub: str) -> None:
    path = find_default(tmp_path, hub)[0].splitlines()[-1]
    os.truncate(path, 1000)
    broken, announced, again = find_default(tmp_path, hub)[0].splitlines()
    assert broken.startswith(f"{path} is cut short or damaged") and broken.endswith(
        "It is removed and downloaded again."
    )
    assert announced.startswith("Downloading") and again == path
    assert Path(path).read_bytes() == Hub.weights

    os.truncate(path, 0)
    broken, unavailable = find_default(tmp_path, NO_NETWORK)[0].splitlines()
    assert broken.startswith(f"{path} is empty")
    assert unavailable.startswith("unavailable: ViT-B-32 / laion2b_s34b_b79k is not on this machine")
    assert files_in(tmp_path) == []


def test_what_somebody_has_linked_into_the_cache_is_not_removed_with_the_link(tmp_path: Path, hub: str) -> None:
    path = Path(find_default(tmp_path, hub)[0].splitlines()[-1])
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"<html>")
    path.unlink()
    path.symlink_to(own)
    find_default(tmp_path, hub)
    assert own.read_bytes() == b"<html>" and path.read_bytes() == Hub.weights


@pytest.mark.parametrize(
    ("model", "pretrained", "reason"),
    [
        ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", "xlm-roberta-base"),
        ("nllb-clip-base", "v1", "facebook/nllb-200-distilled-600M"),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_is_fetched(model: str, pretrained: str, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"^{model} cannot be used: its text half, {reason}, needs"):
        find_weights(model, pretrained)


def test_a_file_of_the_users_own_is_taken_as_it_is_and_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    assert find_weights("ViT-B-32", str(path)) == path
    path.write_bytes(b"")
    assert look_for_weights("ViT-B-32", str(path)) == (path, "")
    with pytest.raises(ModelUnavailable, match=r"mine\.pt is empty\.$"):
        find_weights("ViT-B-32", str(path))
    assert path.exists()
