"""Finds, downloads and checks weights of the Hugging Face hub."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vidfind.encoders.names import is_path
from vidfind.errors import ModelUnavailable
from vidfind.models.catalog import (
    MODELS,
    TINY,
    TINY_WEIGHTS,
    ModelEntry,
    check_config,
    check_model,
    default_pretrained,
    known_hub,
)
from vidfind.models.weights import digest_problem, first_line, weights_problem
from vidfind.system.imports import import_open_clip
from vidfind.text.hub_tokenizer import FILE as TOKENIZER_FILE
from vidfind.text.hub_tokenizer import framing_of, tokenizer_of

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata


logger = logging.getLogger(__name__)

PATIENCE = 1.5
"""Seconds; if the hub has not answered by then, vidfind says that it waits, and how long."""


def list_models() -> list[ModelEntry]:
    """Returns the recommended models, with the files of those that are on this machine."""
    entries = []
    for entry in (one for one in MODELS if one.note):
        path = TINY_WEIGHTS if entry.model == TINY else find_in_cache(entry.hub)
        path = path if path and not weights_problem(path) else None
        size = path.stat().st_size if path else entry.size_bytes
        entries.append(replace(entry, path=path, size_bytes=size))
    return entries


def find_weights(model: str, pretrained: str, announce: Callable[[str], None] = logger.info) -> Path:
    """Returns the file of the weights, downloaded if needed, and checked at its start and end.

    A broken file in the cache is removed and downloaded again. Raises ModelUnavailable, and UnsupportedModel before
    anything is downloaded in vain."""
    path, hub = look_for_weights(model, pretrained)
    if path and (problem := weights_problem(path)):
        if not hub:
            raise ModelUnavailable(f"{path} {problem}.")
        announce(f"{path} {problem}. It is removed and downloaded again.")
        remove_from_cache(path)
        path = None
    if path:
        return path
    bring = f"add --pretrained FILE. To try vidfind without it, add --model {TINY}, which knows only drawn shapes"
    return fetch(f"{model} / {pretrained}", hub, bring, announce)


def find_tokenizer(
    model: str, config: Mapping[str, Any], weights: Path, announce: Callable[[str], None] = logger.info
) -> Path | None:
    """Returns the tokenizer.json that a model with this `config` of open_clip needs, downloaded if needed; or None.

    The file beside the weights, if there is one; else that of the Hugging Face hub. Raises ModelUnavailable."""
    if framing_of(config) is None:
        return None
    beside = weights.parent / TOKENIZER_FILE
    if beside.is_file():
        return beside
    repo = tokenizer_of(config)
    hub = f"{repo if '/' in repo else HUB_OWNERS[repo]}/{TOKENIZER_FILE}"
    cached = find_in_cache(hub)
    return cached or fetch(f"{model}'s tokenizer", hub, f"put it into the folder {weights.parent}", announce)


HUB_OWNERS = {"bert-base-uncased": "google-bert/bert-base-uncased"}
"""Repositories of the hub that open_clip calls by an earlier name."""


def look_for_weights(model: str, pretrained: str) -> tuple[Path | None, str]:
    """Returns the file of the weights if it is on this machine, and the Hugging Face repository it comes from.

    The repository is empty for the user's own files and for the model in the package. Raises ModelUnavailable for
    unknown names, and UnsupportedModel."""
    if model == TINY and pretrained == default_pretrained(TINY):
        return TINY_WEIGHTS, ""
    file = Path(pretrained).expanduser()
    if file.is_file():
        return file, ""
    hub = known_hub(model, pretrained) or hub_of_tag(model, pretrained)
    return find_in_cache(hub), hub


def hub_of_tag(model: str, pretrained: str) -> str:
    """Returns the Hugging Face repository of weights that open_clip knows.

    Raises ModelUnavailable and UnsupportedModel."""
    file = Path(pretrained).expanduser()
    if file.is_dir():
        raise ModelUnavailable(f"{pretrained} is a folder: --pretrained takes the checkpoint file in it.")
    if is_path(pretrained):
        reason = f"There is no checkpoint file {pretrained}"
        raise ModelUnavailable(f"{reason}. If it was moved, add --pretrained with its new path.", reason)
    if model == TINY:
        raise ModelUnavailable(f"{TINY} comes with weights of its own: leave out --pretrained {pretrained}.")

    open_clip = import_open_clip()

    check_model(model)
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(model)
        known = f"open_clip has {', '.join(tags)}" if tags else "open_clip has none"
        raise ModelUnavailable(f"{model} has no weights called {pretrained}: {known}. A checkpoint file works too.")
    if not tag.get("hf_hub"):
        raise ModelUnavailable(
            f"{model} / {pretrained} is not on the Hugging Face hub: download {tag.get('url', 'it')} "
            "and pass the file with --pretrained FILE."
        )
    check_config(open_clip.get_model_config(model), model)  # a download may take an hour
    return str(tag["hf_hub"])


def hub_files(hub: str) -> tuple[str, list[str]]:
    """Returns the repository, and possible file names of its weights, best first.

    `hub` is "org/name", "org/name/" or "org/name/file"."""
    org, name, file = [*hub.split("/", 2), ""][:3]
    return f"{org}/{name}", [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


def cache_folder() -> Path:
    """Returns the folder in which Hugging Face keeps its downloads, those of other programs too."""
    return Path(hub_constants().HF_HUB_CACHE)


def cached_model(hub: str) -> Path:
    """Returns the folder of a model in the Hugging Face cache, there or not; `hub` as in `hub_files`."""
    repo, _ = hub_files(hub)
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def find_in_cache(hub: str) -> Path | None:
    """Returns the weights in the Hugging Face cache, or None; importing the hub's client for it would take 0.15 s."""
    _, names = hub_files(hub)
    folder = cached_model(hub)
    with suppress(OSError, ValueError):  # the download reports unreadable folders, and doctor repairs them
        revision = (folder / "refs" / "main").read_text(encoding="utf-8")
        files = (folder / "snapshots" / revision / name for name in names)
        return next((file for file in files if file.is_file()), None)
    return None


def remove_from_cache(path: Path) -> None:
    """Deletes a file of the Hugging Face cache: its link, and its content. Raises ModelUnavailable."""
    blob = path.parent / path.readlink() if path.is_symlink() else path
    try:
        path.unlink(missing_ok=True)
        if blob.parent.name == "blobs":  # a file of the cache itself, not one that somebody has linked there
            blob.unlink(missing_ok=True)
    except OSError as error:
        raise ModelUnavailable(f"{path} is broken, and cannot be removed: {error.strerror}.") from error


def fetch(what: str, hub: str, bring: str, announce: Callable[[str], None]) -> Path:
    """Downloads a file into the Hugging Face cache; reports its size first, and that the hub is slow.

    `what` it is; `bring` says what a user who brings the file has to do with it. `hub` is as in `hub_files`. Raises
    ModelUnavailable, soon if offline: a hub that does not answer has as long as the settings of its client say.
    """
    constants = hub_constants()
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    repo, names = hub_files(hub)
    unavailable = (
        f"{what} is not on this machine (looked in {constants.HF_HUB_CACHE}) and {{reason}}. "
        f"Connect to the network once, or bring the file: {names[0]} of {constants.ENDPOINT}/{repo}, "
        f"then {bring}."
    )
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(unavailable.format(reason="HF_HUB_OFFLINE forbids fetching it"))
    seconds = max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)
    failure: BaseException | None = None
    for name in names:
        ask = partial(get_hf_file_metadata, hf_hub_url(repo, name), timeout=seconds)
        waiting = f"Waiting for {constants.ENDPOINT}, {seconds} seconds at most ({WAIT_LONGER} waits longer)"
        answer = first_answer(ask, seconds, partial(announce, waiting))
        if answer is None:
            reason = f"{constants.ENDPOINT} does not answer within {seconds} seconds ({WAIT_LONGER} waits longer)"
            raise ModelUnavailable(unavailable.format(reason=reason))
        metadata, failure = answer
        if failure is not None and _status(failure) == 404:
            continue  # an older repository, without safetensors
        if failure is not None:
            break
        size = f"{metadata.size / 1e6:,.0f} MB" if metadata.size else "size unknown"
        announce(f"Downloading {what.replace('The ', 'the ')} ({size}, once) to {constants.HF_HUB_CACHE}")
        try:
            return download(repo, name, metadata, announce, seconds)
        except Exception as error:  # the hub's client raises its HTTP library's own errors, OSError and more
            if isinstance(error, OSError) and error.errno in CANNOT_STORE:
                raise ModelUnavailable(
                    f"{what} cannot be stored in {constants.HF_HUB_CACHE}: {error.strerror}. Make room "
                    "there, or set HF_HOME to another folder."
                ) from error
            reason = f"the download failed ({first_line(error)}{_proxy(constants.ENDPOINT)})"
            raise ModelUnavailable(unavailable.format(reason=reason)) from error
    assert isinstance(failure, Exception)
    refused = f"answers with {status}" if (status := _status(failure)) else "cannot be reached"
    reason = f"{constants.ENDPOINT} {refused} ({first_line(failure)}{_proxy(constants.ENDPOINT)})"
    raise ModelUnavailable(unavailable.format(reason=reason)) from failure


CANNOT_STORE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
WAIT_LONGER = "HF_HUB_ETAG_TIMEOUT=60"


def hub_constants() -> Any:
    """Returns the settings of the hub's client. Raises ModelUnavailable for a number that is none."""
    try:
        from huggingface_hub import constants
    except ValueError as error:
        names = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
        wrong = [f"{name}={os.environ[name]}" for name in names if not os.environ.get(name, "0").strip().isdigit()]
        raise ModelUnavailable(f"{' and '.join(wrong) or error}: give whole seconds, such as {WAIT_LONGER}.") from error
    return constants


def _status(failure: BaseException) -> int | None:
    """The HTTP status that a hub has answered with; None if it has not."""
    return getattr(getattr(failure, "response", None), "status_code", None)


def _proxy(endpoint: str) -> str:
    """Words about the proxy that the hub is asked through; empty if there is none."""
    from urllib.request import getproxies, proxy_bypass  # a tenth of the time that a search takes to start

    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    return f", through the proxy {urlsplit(proxy).hostname or proxy}, as {parts.scheme.upper()}_PROXY says"


def download(repo: str, name: str, metadata: "HfFileMetadata", announce: Callable[[str], None], seconds: float) -> Path:
    """Downloads a file of the hub into the cache and checks its size and SHA-256; a wrong file is removed.

    Tries twice. The hub has `seconds` to answer. Raises ModelUnavailable, and the errors of the hub's client."""
    from huggingface_hub import hf_hub_download

    problem = ""
    for again in (False, True):
        path = Path(hf_hub_download(repo, name, force_download=again, etag_timeout=seconds))
        size = path.stat().st_size
        if metadata.size not in (None, size):
            problem = f"is {size:,} bytes long, not {metadata.size:,}"
        else:
            problem = weights_problem(path) or digest_problem(path, metadata.etag)
        if not problem:
            return path
        remove_from_cache(path)
        announce(f"The download {problem}. It is removed{'' if again else ', and downloaded once more'}.")
    raise ModelUnavailable(f"the downloaded file {problem}, twice")


def first_answer(
    ask: Callable[[], Any], seconds: float, say_waiting: Callable[[], None]
) -> tuple[Any, BaseException | None] | None:
    """Returns the result of `ask` and its error; None after `seconds`, since name look-ups have no time limit.

    `say_waiting` is called when PATIENCE is over."""
    answers: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            answers.append((ask(), None))
        except Exception as error:  # the caller reports it to the user
            answers.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(min(PATIENCE, seconds))
    if thread.is_alive() and seconds > PATIENCE:
        say_waiting()
        thread.join(seconds - PATIENCE + 0.5)  # the client's own error says more
    return answers[0] if answers else None
