"""Changes an index without encoding: removes videos, or gives them new paths.

Touches no video file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidfind.commands import index_command, status_command
from vidfind.errors import BadInput
from vidfind.store.folder import targets_of
from vidfind.store.memory import read_left_out
from vidfind.store.store import Store
from vidfind.store.tables import UNKNOWN_PLACE, VideoRow


@dataclass(frozen=True)
class Relinked:
    """A video with a new path. `was_known`: the index already held a video with that path."""

    path: Path
    source: Path
    was_known: bool


def remove_videos(paths: Sequence[Path], store: Store) -> list[VideoRow]:
    """Removes videos, and all videos under folders, from the index; returns their rows. Files are not touched.

    Their vectors are kept for a while: see memory.py. Raises BadInput if a path names no video."""
    with store.writing() as writer:
        writers = writer.generations()
        removed = videos_to_remove(paths, store)
        chosen = {row.path for row in removed}
        places = _places(paths, chosen, store)
        writer.leave_out(read_left_out(store.path).without(places))  # first: a run then finishes what is killed
        for one in writers:
            one.set_aside(row for path, row in one.store.videos().items() if path in chosen)
            one.remove(chosen)
            one.compact()
    return removed


def videos_to_remove(paths: Sequence[Path] | None, store: Store, purge: bool = False) -> list[VideoRow]:
    """The videos that `remove_videos`, or `purge_videos`, would remove. Raises BadInput if a path names none."""
    rows: dict[Path, VideoRow] = {}
    for one in filter(None, [store.unfinished(), store]):
        rows |= {video.row.path: video.row for video in one.removed().values()} if purge else {}
        rows |= one.videos() if paths else {}
    chosen = rows if paths is None else _chosen(paths, rows.values(), store)
    return [row for _, row in sorted(chosen.items())]


def purge_videos(paths: Sequence[Path] | None, store: Store) -> list[VideoRow]:
    """Removes videos as `remove_videos` does, and deletes also their vectors; without paths, those of removed videos.

    Nothing of them is left on disk. Raises BadInput if a path names no video, removed or not."""
    with store.writing() as writer:
        removed = videos_to_remove(paths, store, purge=True)
        purged = {row.path for row in removed}
        places = _places(paths or (), purged, store)
        left_out = read_left_out(store.path).without(places)
        # Of a file that is not there, not even the path stays.
        gone = {path for path in places if not os.path.lexists(path)}
        writer.leave_out(dataclasses.replace(left_out, removed=left_out.removed - gone))
        for one in writer.generations():
            one.remove(purged if paths else [])
            one.purge(purged)
        writer.purge_labels(removed if paths else None)
    return removed


def _chosen(paths: Sequence[Path], rows: Collection[VideoRow], store: Store) -> dict[Path, VideoRow]:
    """The rows of the videos under `paths`, by their paths. Raises BadInput for a path with none."""
    chosen: dict[Path, VideoRow] = {}
    for place in _places(paths, [row.path for row in rows], store):
        chosen |= {row.path: row for row in rows if row.path.is_relative_to(place)}
    return chosen


def _places(paths: Iterable[Path], known: Collection[Path], store: Store) -> list[Path]:
    """`paths` as the videos `known` of an index have them: one through a link is that which the link leads to, or the
    other way round, if no video is under it as it is written. Raises BadInput for a path with none."""
    links = store.links()
    places: list[Path] = []
    for path in _absolute(paths):
        real = Path(os.path.realpath(path))
        ways = ([path], targets_of(path, links), [real], targets_of(real, links))
        found = (sorted(one for one in way if any(each.is_relative_to(one) for each in known)) for way in ways)
        here = next(filter(None, found), None)
        if here is None:
            raise _none_under(path, store)
        places += here
    return places


def relink_videos(old: Path, new: Path, store: Store) -> list[Relinked]:
    """Gives the videos under the folder `old` (or the video `old`) paths under `new`, with or without the files.

    If the index already has a video with the new path, that one stays, unless it failed and the other did not. After a
    kill, the same call finishes the work. Raises BadInput if there is no such video, or if one would lie under `old`
    again, because a second call could not tell it from those to be moved."""
    old, new = Path(os.path.abspath(old)), Path(os.path.abspath(new))
    with store.writing() as writer:
        writers = writer.generations()
        known = {path for one in writers for path in one.store.videos()}
        moves = {path: new / path.relative_to(old) for path in sorted(known) if path.is_relative_to(old)}
        if not moves:
            raise _none_under(old, store, new if any(path.is_relative_to(new) for path in known) else None)
        if any(target.is_relative_to(old) for target in moves.values()):
            raise BadInput(
                f"{old} and {new} lie within one another. Where the files are there: {index_command(store.path, [new])}"
            )
        writer.leave_out(read_left_out(store.path).moved(old, new))
        for one in writers:
            rows = one.store.videos()
            pairs = [(rows[path], rows.get(target)) for path, target in moves.items() if path in rows]
            # First the new rows are added, then the old ones removed: a kill in between leaves both, and loses nothing.
            one.put(
                [_relinked(row, old, new) for row, there in pairs if not there or (there.failed and not row.failed)]
            )
            one.remove(row.path for row, _ in pairs)
            one.compact()
    return [Relinked(target, path, target in known) for path, target in moves.items()]


def _absolute(paths: Iterable[Path]) -> list[Path]:
    return [Path(os.path.abspath(path)) for path in paths]


def _relinked(row: VideoRow, old: Path, new: Path) -> VideoRow:
    # A folder above `old` is not kept: an index run of it would take the videos for deleted.
    folder = new / row.folder.relative_to(old) if row.folder.is_relative_to(old) else new
    return dataclasses.replace(row, path=new / row.path.relative_to(old), folder=folder, place=UNKNOWN_PLACE)


def _none_under(path: Path, store: Store, other: Path | None = None) -> BadInput:
    hint = f" (there are some under {other})" if other else ""
    return BadInput(
        f"No video of the index {store.path.name!r} is {path} or lies under it{hint}. "
        f"See what is indexed: {status_command(store.path)}"
    )
