"""The details that the page shows beside moments: of a video, of the index, and the choices of its filters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vidfind.commands import index_command
from vidfind.store.files import find_present_files
from vidfind.store.places.progress import read_run
from vidfind.store.tables import VideoRow, path_from_text
from vidfind.web.answers import folder_text, plays
from vidfind.web.library import Library
from vidfind.web.replies import readable

MOST_FOLDERS = 2000


def video_json(library: Library, row: VideoRow) -> dict[str, Any]:
    """Returns what there is to say of a video, with the names of `vidfind list --json`."""
    return {
        "video": library.id_of(row.path),
        "name": readable(row.path.name),
        "folder": folder_text(row.path),
        "path": readable(row.path),
        "created": row.created,
        "created_from": row.created_from,
        "duration": round(row.duration, 3),
        "width": row.width,
        "height": row.height,
        "codec": row.codec,
        "size": row.size,
        "segments": row.segments,
        "indexed_at": row.indexed_at,
        "damage": row.damage,
        "present": row.path in find_present_files([row]),
        "plays": plays(row),
    }


def folders_json(library: Library) -> dict[str, Any]:
    """Returns the folders that videos lie in, and those above them up to the indexed ones, with numbers of videos."""
    videos = library.store.columns("path", "folder")
    texts = zip(videos["path"].to_pylist(), videos["folder"].to_pylist(), strict=True)
    lying = Counter((path_from_text(str(path)).parent, str(root)) for path, root in texts)
    counts: Counter[Path] = Counter()
    for (folder, root_text), count in lying.items():
        root = path_from_text(root_text)
        above = [one for one in (folder, *folder.parents) if one.is_relative_to(root)]
        counts.update(dict.fromkeys(above or [folder], count))  # a video may have been indexed by itself
    return {
        "folders": [
            {"path": readable(folder), "name": readable(folder.name or folder), "videos": count}
            for folder, count in sorted(counts.items())[:MOST_FOLDERS]
        ]
    }


def tags_json(library: Library) -> dict[str, Any]:
    """Returns the tags and learned classes of the index."""
    store = library.store
    return {
        "tags": sorted({*store.label_names("tag"), *store.mark_names("tags")}, key=str.casefold),
        "classes": sorted(store.mark_names("classes")),
    }


def status_json(library: Library) -> dict[str, Any]:
    """Returns how much the index holds, how far a run is that is under way, and what to do with an empty index."""
    store = library.store
    videos, run = store.count_videos(with_failed=False), read_run(store.path)
    return {
        "index": store.path.name,
        "videos": videos,
        "segments": store.count_segments(),
        "model": store.settings.identity.model,
        "run": vars(run) if run else None,
        "next": "" if videos else index_command(store.path),
    }
