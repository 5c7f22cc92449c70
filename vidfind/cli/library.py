"""`vidfind status`, `list`, `remove` and `relink`: shows what an index holds, and takes videos out or renames them."""

import itertools
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vidfind.cli.demo import DEMO_INDEX, DEMO_VIDEOS, demo_folder
from vidfind.cli.shared.options import (
    Between,
    Exclude,
    Folders,
    IndexName,
    Json,
    Maps,
    Online,
    Quiet,
    Since,
    TagsFrom,
    Until,
    Verbose,
    Yes,
)
from vidfind.errors import BadInput
from vidfind.search.question.filters import NO_FILTERS
from vidfind.store.places.path import IndexPath, index_path
from vidfind.system import paths


def status_command(
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what an index holds and how it was made.

    Videos that could not be read, or only in part, are listed with the reason.

    \b
    Example:
      vidfind status
    """
    from vidfind.display import console
    from vidfind.display.library import show_status, status_json
    from vidfind.folders.patterns import ignore_files
    from vidfind.store.status import index_status
    from vidfind.store.store import Store
    from vidfind.system.files import find_present

    store = Store.open(index_path(name))
    described = index_status(store)
    online = find_present({folder: folder for folder in described.folders})
    ignoring = sorted({file for folder in online for file in ignore_files(folder)})
    if as_json:
        console.json_line(status_json(described, store.path, online, ignoring))
    else:
        show_status(described, store.path, online, ignoring)


def list_command(
    context: typer.Context,
    folders: Folders = None,
    exclude: Exclude = None,
    since: Since = None,
    until: Until = None,
    between: Between = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only videos with this tag. Given again: all in one moment."),
    ] = None,
    any_tag: Annotated[
        list[str] | None, typer.Option("--any-tag", metavar="TAG,TAG", help="Only videos with one of these tags.")
    ] = None,
    no_tag: Annotated[
        list[str] | None,
        typer.Option("--no-tag", metavar="TAG", help="No videos with this tag anywhere. May be given again."),
    ] = None,
    tags_from: TagsFrom = NO_FILTERS.tags_from,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--is",
            metavar="TASK:CLASS",
            help="Only videos that show a class which you taught, such as pets:rex. Given again: all in one moment.",
        ),
    ] = None,
    online: Online = False,
    as_json: Json = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Print only the path of each video.")] = False,
    print0: Annotated[
        bool, typer.Option("--print0", "-0", help="Like --paths, with a NUL character after each path, for `xargs -0`.")
    ] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the videos of an index, with their dates and lengths.

    Also those that could not be read, or whose files are not there now.

    \b
    Example:
      vidfind list --in ~/Videos/2024 --since 2024-05
    """
    from vidfind.cli.search import read_options
    from vidfind.cli.shared.prompt import Answers
    from vidfind.display import console
    from vidfind.display.library import listed_json, show_listed
    from vidfind.search.tagged import named_segments
    from vidfind.store.files import find_present_files
    from vidfind.store.select import select_videos
    from vidfind.store.store import Store

    if as_json and (as_paths or print0):
        raise typer.BadParameter(f"Give either --json or {'--print0' if print0 else '--paths'}.")
    filters = read_options(context, Answers())[1].filters
    store = Store.open(index_path(name))
    selected = select_videos(
        store,
        filters.places,
        filters.since,
        filters.until,
        exclude=filters.excluded,
        between=filters.between,
        with_failed=True,
    )
    stored = store.videos()
    rows = [stored[path] for path in selected.paths() if path in stored]
    if named := named_segments(store, filters):
        rows = [*named.is_about(store, rows)]
    there = find_present_files(rows)
    rows = [row for row in rows if row.path in there or not online]
    if as_json:
        for row in rows:
            console.json_line(listed_json(row, row.path in there))
    elif as_paths or print0:
        for row in rows:
            console.path_line(row.path, ends_with_nul=print0)
    else:
        show_listed(rows, there)


def remove_command(
    path: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Videos, or folders of them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the whole index.")] = False,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Delete for good, after a question: of the videos under PATH, or of all removed videos, also the "
            "vectors that are kept for 30 days.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the videos that would be removed, without doing it.")
    ] = False,
    yes: Yes = False,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Remove videos from an index, or delete a whole index. Your video files are never touched.

    Later runs leave PATH out until you name it to `vidfind index` again. The vectors of removed videos are kept for 30
    days, where no search shows them: nothing is encoded again if you change your mind.

    \b
    Example:
      vidfind remove ~/Videos/drafts
    """
    if (everything and (path or purge)) or not (everything or path or purge):
        raise typer.BadParameter("Give either PATHs to remove, or --all for the whole index, or --purge.")

    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.pictures.cache import PictureCache
    from vidfind.store.folder import delete_index
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store

    store_path = index_path(name)
    if path or purge:
        from vidfind.display.library import show_removed
        from vidfind.store.edit import purge_videos, remove_videos, videos_to_remove
        from vidfind.words.levels import update_levels

        store = Store.open(store_path)
        removed = videos_to_remove(path, store, purge)
        if not dry_run:
            _confirm_removal(len(removed), purge, yes)
            removed = purge_videos(path, store) if purge else remove_videos(path or [], store)
            update_levels(store)
            if purge:
                PictureCache().forget(row.fingerprint for row in removed)
        if as_json:
            for row in removed:
                console.json_line({"path": row.path})
        else:
            show_removed(removed, path or [], purge, dry_run, store_path)
        return
    is_demo = name == DEMO_INDEX and demo_folder().exists()
    if is_index(store_path) and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"Deleting the index {name!r} must be confirmed: add --yes.")
        videos = "Videos drawn by the demo go with it" if is_demo else "The videos stay where they are"
        typer.confirm(f"Delete the index {name!r}? {videos}", abort=True, err=True)
    has_index = is_index(store_path)
    saved = [] if is_demo or not has_index else _save_labels(store_path)
    if has_index or not is_demo:  # a demo that was stopped early may have drawn videos and made no index
        delete_index(store_path)
    PictureCache().clear()  # those of other indexes are made anew
    if is_demo:
        from vidfind.demo.collection import delete_collection

        deleted = delete_collection(demo_folder(), DEMO_VIDEOS)
    if as_json:
        console.json_line({"index": name})
        return
    if has_index:
        console.message(f"Deleted the index {name!r}.")
        for what, file, command in saved:
            console.message(f"Its {what} are kept in {file}. To take them back: {command}")
    if is_demo:
        console.message(f"Deleted {plural(deleted, 'video')} that the demo had drawn.")


def _save_labels(index: IndexPath) -> list[tuple[str, Path, str]]:
    """Writes the tags and classes that the owner gave, also to removed videos, to lists in the home of vidfind.

    Returns what each list holds, its file, and the command that takes it back; none without tags and classes."""
    from vidfind.categories.labels import EXPORTED, class_rows
    from vidfind.commands import learn_import_command, tag_import_command
    from vidfind.errors import VidfindError
    from vidfind.store.store import Store
    from vidfind.system.storage import write_text
    from vidfind.tagging.edit import COLUMNS, list_text, rows_by_file, tag_rows

    try:
        store = Store.open(index)
        videos = {one.row.fingerprint: one.row for one in store.removed().values()} | rows_by_file(store)
        lists = [
            ("tags", [*tag_rows(store, videos)], COLUMNS, tag_import_command),
            ("classes", [*class_rows(store, videos)], EXPORTED, learn_import_command),
        ]
    except VidfindError:  # it is deleted because it is damaged
        return []
    saved = []
    name = index.name.partition("://")[2].replace("/", "-") or index.name
    for what, rows, columns, import_command in lists:
        if rows:
            numbered = (f"{what}-{name}{f'-{number}' if number else ''}.csv" for number in itertools.count())
            file = next(file for one in numbered if not (file := paths.home() / one).exists())
            write_text(file, list_text(rows, columns))
            saved.append((what, file, import_command(file, index)))
    return saved


def _confirm_removal(videos: int, purge: bool, yes: bool) -> None:
    """Asks whether many videos are to be removed, or any for good; ends the program if not.

    Without a terminal, raises BadInput."""
    from vidfind.display.text import plural
    from vidfind.index.options import FEW_REMOVALS

    if yes or videos <= (0 if purge else FEW_REMOVALS):
        return
    what = plural(videos, "video")
    if not sys.stdin.isatty():
        how = " for good" if purge else ""
        raise BadInput(f"Removing {what}{how} must be confirmed: add --yes. Nothing was removed.")
    question = f"Remove {what} from the index? The files stay where they are."
    if purge:
        question = f"Delete the vectors of {what} for good? That cannot be undone. The files stay where they are."
    typer.confirm(question, abort=True, err=True)


def relink_command(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="The old path of the folder or video, as the index knows it.")
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The new path.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask if NEW is not there.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell an index that a folder has a new path.

    For instance, after a drive got another letter. No file is moved, and nothing is encoded again.

    \b
    Example:
      vidfind relink /media/usb1/films /media/usb2/films
    """
    from vidfind.display import console
    from vidfind.display.library import relinked_json, show_relinked
    from vidfind.store.edit import relink_videos
    from vidfind.store.store import Store
    from vidfind.system.files import find_present

    store = Store.open(index_path(name))
    _check_is_there(Path(os.path.abspath(new)), yes)
    relinked = relink_videos(old, new, store)
    if as_json:
        for values in relinked_json(relinked):
            console.json_line(values)
        return
    show_relinked(relinked)
    new = Path(os.path.abspath(new))
    if not find_present({new: new}):
        console.message(f"{new} is not there now: its videos are offline until it is.")


def _check_is_there(new: Path, yes: bool) -> None:
    """Asks whether a path is meant that is not there, although no drive seems to be missing.

    Ends the program if not. Without a terminal, raises BadInput."""
    from vidfind.system.mounts import may_be_away, nearest_name

    if yes or os.path.lexists(new) or may_be_away(new):
        return
    similar = nearest_name(new)
    hint = f" Did you mean {similar}?" if similar else ""
    if not sys.stdin.isatty():
        raise BadInput(f"There is no {new}.{hint} If it is on a drive that is not connected now, add --yes.")
    typer.confirm(f"There is no {new} now.{hint} Use it all the same?", abort=True, err=True)
