"""`vidfind doctor`: what is looked at on this machine and in vidfind's folders, and how it is mended, as plain data.

Every check stands alone: one that fails, whatever the reason, is a problem that is reported, and the others go on.
Looking changes nothing. Heavy libraries are imported inside checks, as they may be what is broken.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from vidfind import __version__
from vidfind.errors import ModelUnavailable, VidfindError
from vidfind.store.settings import SETTINGS_FILE, delete_command, index_option, is_index, read_generation
from vidfind.system import player
from vidfind.system.paths import home, index_path

T = TypeVar("T")
log = logging.getLogger(__name__)

MINIMAL_FREE = 200_000_000  # bytes; LanceDB writes a table anew when it is tidied up
STALE = 3600.0  # seconds; what was not written to for so long is no download that is going on
COMMIT = re.compile(rb"[0-9a-f]{40}\s*")
CLIP_FRAMES = 24
CLIP_SIZE = 64
READER_SECONDS = 30.0  # for a clip of one second
NETWORK_DRIVES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "9p", "fuse.sshfs", "fuse.rclone", "davfs"}
FIX = "vidfind doctor --fix"
NOTHING = "nothing: "
"""How the remedy of a problem of an index begins where mending does nothing about it."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what mends it, for users."""

    text: str
    remedy: str


@dataclass(frozen=True)
class Found:
    """What there is to tell of a thing, and what is wrong with it."""

    facts: str
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Check:
    """`look` tells what there is. `mend` does what can be done about problems, a line for each thing it has done."""

    name: str
    look: Callable[[], Found]
    mend: Callable[[], list[str]] | None = None
    subject: str = ""
    """Which one it is about, where there are several."""


@dataclass(frozen=True)
class Finding:
    """What became of a check. `problems` are those that remain, `mended` what was done about others."""

    check: str
    subject: str
    facts: str
    problems: Sequence[Problem] = ()
    mended: Sequence[str] = ()


def examine(check: Check, fix: bool = False) -> Finding:
    """Looks, with `fix` mends and looks again. Raises nothing but KeyboardInterrupt."""
    found = _look(check)
    if not (fix and found.problems and check.mend):
        return Finding(check.name, check.subject, found.facts, found.problems)
    try:
        mended = check.mend()
    except Exception as error:  # a doctor must get to the end, whatever it meets
        failure = Problem(f"could not be mended: {_say(error)}", f"see to that first, then: {FIX}")
        return Finding(check.name, check.subject, found.facts, [*found.problems, failure])
    found = _look(check)
    return Finding(check.name, check.subject, found.facts, found.problems, mended)


def _look(check: Check) -> Found:
    try:
        return check.look()
    except Exception as error:  # as above
        log.debug("%s:", check.name, exc_info=True)
        return Found("", [Problem(f"could not be looked at: {_say(error)}", "")])


def _say(error: Exception) -> str:
    if isinstance(error, VidfindError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def all_checks(index: str | None = None) -> Iterator[Check]:
    """All that is looked at; of the indexes, the one of this name alone if it is given."""
    yield Check("vidfind", _look_at_system)
    yield Check("Packages", _look_at_packages)
    yield Check("Device", _look_at_device)
    yield Check("Decoders", _look_at_decoders)
    yield Check("Player", _look_at_player)
    yield Check("Data", _look_at_data)
    paths = [index_path(index)] if index else _listed(_index_folders)
    for path in paths:
        yield Check("Index", partial(_look_at_index, path), partial(_mend_index, path), path.name)
    yield Check("Adapters", _look_at_adapters)
    yield Check("Defaults", _look_at_defaults, _mend_defaults)
    yield Check("Models", _look_at_cache, _mend_cache)
    for model in _listed(_models_in_use, paths):
        yield Check("Model", partial(_look_at_model, *model), partial(_mend_model, *model), " / ".join(model))


def _listed(find: Callable[..., list[T]], *arguments: object) -> list[T]:
    """What `find` finds; nothing where it fails, as the check of the folder itself tells why."""
    try:
        return find(*arguments)
    except Exception:
        log.debug("What to look at:", exc_info=True)
        return []


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# The machine ----------------------------------------------------------------------------------------------------------


def _look_at_system() -> Found:
    return Found(f"{__version__}, Python {platform.python_version()}, {platform.platform()}")


def _look_at_packages() -> Found:
    """The versions of what vidfind depends on."""
    wanted = [re.split(r"[^\w.-]", text)[0] for text in metadata.requires("vidfind") or [] if "extra ==" not in text]
    versions, problems = [], []
    for name in sorted(wanted):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            problems.append(Problem(f"the package {name} is missing", "install vidfind again"))
    return Found(", ".join(versions), problems)


def _look_at_device() -> Found:
    """Where models run, and whether that can multiply."""
    import psutil
    import torch

    from vidfind.encoders.encoder import choose_device, choose_dtype

    device = choose_device("auto")
    dtype = choose_dtype("auto", device)
    memory = psutil.virtual_memory()
    facts = [f"{device} in {str(dtype).removeprefix('torch.')}", f"{os.cpu_count()} CPU cores"]
    facts.append(f"{_size(memory.total)} of memory, {_size(memory.available)} free")
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        facts.append(f"{torch.cuda.get_device_name()} with {_size(total)}, {_size(free)} free")
    ones = torch.ones(32, 32, device=device, dtype=dtype)
    if not bool((ones @ ones == 32).all()):
        return Found(", ".join(facts), [Problem(f"{device} computes wrongly", "use another: --device cpu")])
    return Found(", ".join(facts))


def _look_at_decoders() -> Found:
    """Draws a clip that gets brighter, and has each decoder read it in a process of its own."""
    import numpy as np

    from vidfind.media import decoding, sampling
    from vidfind.media import read as video

    with tempfile.TemporaryDirectory(prefix="vidfind-") as folder:
        path = Path(folder) / "clip.mp4"
        frames = (np.full((CLIP_SIZE, CLIP_SIZE, 3), 8 * i, np.uint8) for i in range(CLIP_FRAMES))
        video.write_video(path, frames, CLIP_FRAMES)
        info = decoding.probe(path)
        wanted = (sampling.split_segments(info.duration, 10.0), CLIP_FRAMES // 2, CLIP_SIZE)
        wrong = {
            "PyAV": _wrong_with(video.read_with_pyav, path, *wanted),
            "decord": _wrong_with(video.read_with_decord, path, info, *wanted),
        }
    remedy = "install vidfind again; videos are read with the other decoder as far as it can"
    problems = [Problem(f"{name} {trouble}", remedy) for name, trouble in wrong.items() if trouble]
    return Found(", ".join(f"{name} {'fails' if trouble else 'reads'}" for name, trouble in wrong.items()), problems)


def _wrong_with(read: Callable[..., Iterator[Any]], *arguments: object) -> str:
    """What is wrong with a reader of the clip above; empty if nothing is."""
    import numpy as np

    from vidfind.system.worker import borrow_worker

    with borrow_worker() as worker:
        try:
            samples = list(worker.run(read, *arguments, seconds=READER_SECONDS))
        except Exception as error:  # whatever a decoder may raise
            noise = worker.noise()
            return f"cannot read a clip that was just made: {_say(error)}{f' ({noise})' if noise else ''}"
    if len(samples) != 1 or not (np.diff(samples[0].frames.mean(axis=(1, 2, 3))) > 0).all():
        return "reads other frames of a clip than were put into it"
    return ""


def _look_at_player() -> Found:
    """What `vidfind search --open` would start."""
    template = os.environ.get("VIDFIND_PLAYER")
    name, command = player.player_command(Path("clip.mp4"), 0.0, template)
    if template and not shutil.which(command[0]):
        remedy = "install it, or name another in VIDFIND_PLAYER"
        return Found(f"VIDFIND_PLAYER={template}", [Problem(f"there is no program {command[0]}", remedy)])
    return Found(name or "neither mpv, VLC nor IINA: the system's own player starts at the beginning")


# vidfind's folders ----------------------------------------------------------------------------------------------------


def _look_at_data() -> Found:
    """Whether vidfind's folder can be written, and how much room there is."""
    folder = home().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    facts = f"{folder}{'' if there == folder else ' (not made yet)'}, {_drive(there)}{_size(free)} free"
    problems = []
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "change its rights, or set VIDFIND_HOME to a folder that can be written"
        problems.append(Problem(f"{there} cannot be written", remedy))
    if free < MINIMAL_FREE:
        problems.append(Problem(f"only {_size(free)} are free", "free some space"))
    for inner in (home() / "indexes", home() / "adapters"):
        try:
            if inner.exists():
                os.listdir(inner)
        except OSError as error:
            problems.append(
                Problem(_say(error), "it must be a folder that you may read; vidfind makes it where it is missing")
            )
    return Found(facts, problems)


def _drive(folder: Path) -> str:
    """`ext4, ` or `network drive (nfs4), `; empty where the system does not say."""
    import psutil

    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    kind = next((mounts[place] for place in (folder, *folder.parents) if place in mounts), "")
    return f"network drive ({kind}), " if kind in NETWORK_DRIVES else kind and f"{kind}, "


def _index_folders() -> list[Path]:
    """Raises OSError where they may not be listed."""
    folder = home() / "indexes"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _look_at_index(path: Path) -> Found:
    from vidfind.store.health import check_index
    from vidfind.store.store import Store

    if path.is_dir() and not is_index(path):
        remedy = (
            f"vidfind index FOLDERS{index_option(path)} makes an index of it; or delete it, if nothing in it is yours"
        )
        return Found("", [Problem(f"{path} holds no {SETTINGS_FILE}, so it is no index", remedy)])
    problems = []
    for wrong in check_index(path):
        by_hand = wrong.remedy.startswith(NOTHING)
        remedy = wrong.remedy.removeprefix(NOTHING) if by_hand else f"{FIX}: {wrong.remedy}"
        problems.append(Problem(wrong.text, remedy))
    facts = ""
    with suppress(VidfindError):  # told already
        status = Store.open(path).status()
        made_with = f"{status.settings.model} / {status.settings.pretrained}, {status.settings.encoder}"
        facts = f"{_count(status.videos, 'video')}, {_count(status.segments, 'segment')}, {made_with}"
        facts += f", adapter {status.settings.adapter}" if status.settings.adapter else ""
        facts += f", {len(status.failed):,} could not be read" if status.failed else ""
        problems += _other_weights(path)
    return Found(facts, problems)


def _other_weights(path: Path) -> list[Problem]:
    """Whether the weights on this machine are others than those an index was made with."""
    from vidfind.models.adapter_file import read_info
    from vidfind.models.load import joint_digest, look_for_weights, weights_digest
    from vidfind.models.saved_adapters import find_adapter
    from vidfind.models.weights import weights_problem
    from vidfind.store.store import Store

    store = Store.open(path)
    ours = store.settings
    weights, _ = look_for_weights(ours.model, ours.pretrained)
    if weights is None or weights_problem(weights):  # told in the check of the model
        return []
    digest = weights_digest(ours.model, weights)
    if store.adapter is not None:
        digest = joint_digest(digest, read_info(find_adapter(store.adapter)).video_digest)
    if digest == ours.weights_digest:
        return []
    remedy = (
        f"bring back the weights it was made with; or make it anew: {delete_command(path)}, "
        f"then vidfind index FOLDERS{index_option(path)}"
    )
    return [Problem(f"it was made with other weights or another adapter than {weights} is now", remedy)]


def _mend_index(path: Path) -> list[str]:
    from vidfind.store.health import mend_index

    return mend_index(path) if is_index(path) else []


def _look_at_adapters() -> Found:
    """Reads every saved adapter in full."""
    from vidfind.models.adapter_file import ADVICE, read_adapter
    from vidfind.models.saved_adapters import list_adapters

    problems = []
    saved = list_adapters()
    for adapter in saved:
        try:
            if not adapter.problem:
                read_adapter(adapter.path)
            trouble = adapter.problem
        except VidfindError as error:
            trouble = str(error)
        if trouble:
            remedy = "train it again, import a copy of it, or delete the file; indexes made with it keep copies"
            problems.append(Problem(trouble.removesuffix(ADVICE).rstrip("."), remedy))
    return Found(", ".join(adapter.name for adapter in saved) or "none", problems)


def _look_at_defaults() -> Found:
    from vidfind.models.saved_adapters import default_adapters, lost_defaults

    remedy = f"{FIX}: it is forgotten, and new indexes use no adapter unless told to"
    problems = [Problem(text, remedy) for text in lost_defaults().values()]
    return Found(", ".join(f"{name} for {model}" for model, name in default_adapters().items()) or "none", problems)


def _mend_defaults() -> list[str]:
    from vidfind.models.saved_adapters import forget_lost_defaults

    return [f"Forgot a default adapter: {text}." for text in forget_lost_defaults()]


# Models ---------------------------------------------------------------------------------------------------------------


def _models_in_use(indexes: Sequence[Path]) -> list[tuple[str, str]]:
    """Model and weights of each index and adapter, and the recommended ones that are on this machine."""
    from vidfind.models.load import MODELS, find_in_cache
    from vidfind.models.saved_adapters import list_adapters

    used = []
    for path in indexes:
        with suppress(VidfindError, OSError):  # told already
            settings = read_generation(path).settings
            used.append((settings.model, settings.pretrained))
    used += [(saved.info.model, saved.info.pretrained) for saved in list_adapters() if saved.info]
    used += [(entry.model, entry.pretrained) for entry in MODELS if entry.hub and find_in_cache(entry.hub)]
    return list(dict.fromkeys(used))


def _look_at_model(model: str, pretrained: str) -> Found:
    """Reads the weights in full where their digest is known."""
    from vidfind.models.load import look_for_weights
    from vidfind.models.weights import digest_problem, weights_problem

    try:
        path, hub = look_for_weights(model, pretrained)
    except ModelUnavailable as error:
        return Found("", [Problem(str(error).rstrip("."), "bring the file back to where it was")])
    if path is None:
        return Found("not on this machine: fetched when it is needed")
    facts = _size(path.stat().st_size)
    if trouble := weights_problem(path) or digest_problem(path):
        remedy = f"{FIX}: it is removed, and fetched anew when it is needed" if hub else "put a whole copy in its place"
        return Found(facts, [Problem(f"{path} {trouble}", remedy)])
    return Found(facts)


def _mend_model(model: str, pretrained: str) -> list[str]:
    from vidfind.models.load import look_for_weights, remove_from_cache

    path, hub = look_for_weights(model, pretrained)
    if path is None or not hub:
        return []  # a file of the user's own
    remove_from_cache(path)
    return [f"Removed {path}."]


def _look_at_cache() -> Found:
    """The folder that downloads are kept in, and what is left there of broken ones."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    blobs = [file for folder in _model_folders() for file in (folder / "blobs").glob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in blobs)
    facts = f"in {cache}" if cache.is_dir() else f"in {cache} (not made yet)"
    remedy = f"{FIX}: it is deleted"
    problems = [Problem(f"{file} {trouble}", remedy) for file, trouble in _broken_in_cache()]
    return Found(f"{facts}, {_size(size)} of vidfind's", problems)


def _model_folders() -> list[Path]:
    """Where the Hugging Face cache keeps the models that are vidfind's; those of other programs are there too."""
    from huggingface_hub import constants

    from vidfind.models.load import MODELS, hub_files, look_for_weights

    hubs = [entry.hub for entry in MODELS]
    for model, pretrained in _models_in_use(_index_folders()):
        with suppress(ModelUnavailable):  # told in its own check
            hubs.append(look_for_weights(model, pretrained)[1])
    names = dict.fromkeys(hub_files(hub)[0].replace("/", "--") for hub in hubs if hub)
    folders = [Path(constants.HF_HUB_CACHE) / f"models--{name}" for name in names]
    return [folder for folder in folders if folder.is_dir()]


def _broken_in_cache() -> Iterator[tuple[Path, str]]:
    """What downloads have left behind, and what is wrong with it; whole weights have checks of their own."""
    for folder in _model_folders():
        for file in (folder / "blobs").glob("*.incomplete"):
            if file.stat().st_mtime < time.time() - STALE:
                yield file, f"is {_size(file.stat().st_size)} of a download that broke off"
        for file in (folder / "refs").glob("*"):
            if not COMMIT.fullmatch(file.read_bytes()):
                yield file, "does not say which version of the model is there"


def _mend_cache() -> list[str]:
    done = []
    for file, _ in list(_broken_in_cache()):
        file.unlink()
        done.append(f"Deleted {file}.")
    return done
