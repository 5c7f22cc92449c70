"""Checks the data folder: free space, indexes, adapters and defaults."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

from vidfind.commands import delete_command, index_command
from vidfind.doctor.findings import Found, say
from vidfind.errors import Problem, VidfindError
from vidfind.store.places.path import IndexPath
from vidfind.store.settings import SETTINGS_FILE, is_index
from vidfind.system.paths import adapter_path, home
from vidfind.system.text import file_size, plural

MINIMAL_FREE = 200_000_000  # bytes; LanceDB writes a whole new table when it compacts one
NETWORK_DRIVES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "9p", "fuse.sshfs", "fuse.rclone", "davfs"}


# vidfind's folders ----------------------------------------------------------------------------------------------------


def look_at_data() -> Found:
    """Checks that vidfind's folder can be written, and how much space is free."""
    folder = home().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    facts = f"{folder}{'' if there == folder else ' (not made yet)'}, {_drive(there)}{file_size(free)} free"
    problems = []
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "change its rights, or set VIDFIND_HOME to a folder that can be written"
        problems.append(Problem(f"{there} cannot be written", remedy))
    if free < MINIMAL_FREE:
        problems.append(Problem(f"only {file_size(free)} are free", "free some space"))
    for inner in (home() / "indexes", home() / "adapters"):
        try:
            if inner.exists():
                os.listdir(inner)
        except OSError as error:
            problems.append(
                Problem(say(error), "it must be a folder that you may read; vidfind makes it where it is missing")
            )
    return Found(facts, problems)


def _drive(folder: Path) -> str:
    """Returns `ext4, ` or `network drive (nfs4), `; empty if the system does not know."""
    import psutil

    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    kind = next((mounts[place] for place in (folder, *folder.parents) if place in mounts), "")
    return f"network drive ({kind}), " if kind in NETWORK_DRIVES else kind and f"{kind}, "


def look_at_pictures() -> Found:
    """Reports the cache of small pictures."""
    from vidfind.pictures.cache import PictureCache

    cache = PictureCache()
    there = cache.folder.is_dir()
    number, size = cache.count()
    facts = f"in {cache.folder}{'' if there else ' (not made yet)'}, {plural(number, 'picture')}, {file_size(size)}"
    if there and not os.access(cache.folder, os.R_OK | os.W_OK | os.X_OK):
        remedy = "change its rights, or delete it; until then, pictures are made anew each time"
        return Found(facts, [Problem(f"{cache.folder} cannot be read and written", remedy)])
    return Found(facts)


def look_at_towers() -> Found:
    """Reports the image towers that are kept in 8-bit integers."""
    from vidfind.precision.kept import kept_towers
    from vidfind.system.paths import int8_towers_path

    folder, towers = int8_towers_path(), kept_towers()
    stale = sum(one.is_stale for one in towers)
    facts = f"in {folder}{'' if folder.is_dir() else ' (not made yet)'}, {plural(len(towers), 'image tower')}, "
    facts += file_size(sum(one.size for one in towers))
    facts += f"; {stale} of another PyTorch or vidfind, to be replaced" if stale else ""
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        remedy = "change its rights, or delete it; until then, each run reads the weights in float32 and rounds them"
        return Found(facts, [Problem(f"{folder} cannot be read and written", remedy)])
    return Found(facts)


def index_folders() -> list[Path]:
    """Returns the folders of all indexes. Raises OSError if they may not be listed."""
    folder = home() / "indexes"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def look_at_index(path: IndexPath) -> Found:
    from vidfind.store.mending.health import check_index
    from vidfind.store.status import index_status
    from vidfind.store.store import Store

    if path.is_dir() and not is_index(path):
        remedy = f"`{index_command(path)}` makes an index of it; or delete it, if nothing in it is yours"
        return Found("", [Problem(f"{path} holds no {SETTINGS_FILE}, so it is no index", remedy)])
    problems = check_index(path)
    facts = ""
    with suppress(VidfindError):  # reported already
        status = index_status(Store.open(path))
        identity = status.settings.identity
        made_with = f"{identity.model} / {identity.pretrained}, {identity.encoder}"
        facts = f"{plural(status.videos, 'video')}, {plural(status.segments, 'segment')}, {made_with}"
        facts += f", adapter {identity.adapter}" if identity.adapter else ""
        facts += f", in {status.precision.words}" if status.precision else ""
        facts += f", {len(status.failed):,} could not be read" if status.failed else ""
        problems += _other_weights(path)
    return Found(facts, problems)


def _other_weights(path: IndexPath) -> list[Problem]:
    """Checks that the weights on this machine are those that an index was made with."""
    from vidfind.models.adapter_file import find_adapter, read_info
    from vidfind.models.hub import look_for_weights
    from vidfind.models.load import joint_digest, weights_digest
    from vidfind.models.weights import weights_problem
    from vidfind.store.store import Store

    store = Store.open(path)
    ours = store.settings.identity
    weights, _ = look_for_weights(ours.model, ours.pretrained)
    if weights is None or weights_problem(weights):  # the check of the model reports it
        return []
    digest = weights_digest(ours.model, weights, ours.pretrained)
    if store.adapter is not None:
        digest = joint_digest(digest, read_info(find_adapter(store.adapter)).video_digest)
    if digest == ours.weights_digest:
        return []
    remedy = (
        f"bring back the weights it was made with; or make it anew: {delete_command(path)}, then {index_command(path)}"
    )
    return [Problem(f"it was made with other weights or another adapter than {weights} is now", remedy)]


def mend_index(path: IndexPath) -> list[str]:
    from vidfind.store.mending.health import mend_index

    return mend_index(path)


def look_at_adapters() -> Found:
    """Reads every saved adapter in full."""
    from vidfind.models.adapter_file import read_adapter
    from vidfind.models.saved_adapters import list_adapters

    problems = []
    saved = list_adapters()
    for adapter in saved:
        try:
            adapter_path(adapter.name)  # files copied here by hand may be called anything
            read_adapter(adapter.path)
        except VidfindError as error:
            remedy = "train it again, import a copy of it, or delete the file; indexes made with it keep copies"
            problems.append(Problem(error.reason.rstrip("."), remedy))
    return Found(", ".join(adapter.name for adapter in saved) or "none", problems)


def look_at_defaults() -> Found:
    from vidfind.models.default_adapters import default_adapters, forget_default, lost_defaults

    def forget(model: str, text: str) -> str:
        forget_default(model)
        return f"Forgot a default adapter: {text}."

    remedy = "it is forgotten, and new indexes use no adapter unless told to"
    problems = [Problem(text, remedy, partial(forget, model, text)) for model, text in lost_defaults().items()]
    return Found(", ".join(f"{name} for {model}" for model, name in default_adapters().items()) or "none", problems)
