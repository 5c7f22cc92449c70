"""`vidfind learn`: personal classes, such as pets:rex, learned from a few examples and found again in all videos."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidfind.cli.labels.lists import Strict, require_rows, write_list
from vidfind.cli.labels.named import (
    Begin,
    End,
    ask_before,
    named_videos,
    open_finder,
    open_index,
    part_of,
)
from vidfind.cli.shared.indexing import whole_loader
from vidfind.cli.shared.options import Device, Dtype, IndexName, Json, Maps, MaxSeconds, Quiet, Seed, Verbose, Yes
from vidfind.cli.shared.usage import Command, Group
from vidfind.errors import BadInput, ExitCode, Unusable
from vidfind.system import paths

classes = typer.Typer(name="learn", cls=Group, no_args_is_help=True)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A question with several answers, such as pets.")]
Multi = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TASK",
        help="A task of which a moment can show several classes, as it can of people. May be given again.",
    ),
]


@classes.callback()
def learn(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Teach your own classes, such as pets:rex.

    A task is a question, such as pets or rooms; its classes are the answers. A few videos of each class are enough, and
    several from different days are worth more than many of one. Then learn, and search: `vidfind search "asleep on the
    sofa" --is pets:rex`. CLIP is no face recogniser: it tells people by clothes, places and company, and confuses
    relatives, or two dogs of one breed.

    \b
    Example:
      vidfind learn add pets rex 2023/IMG_0412.mp4
      vidfind learn fit
    """


@classes.command(cls=Command)
def add(
    task: TaskName,
    name_of_class: Annotated[
        str,
        typer.Argument(
            metavar="CLASS",
            help="The answer, such as rex; none: no class of the task. TASK and CLASS may be one: pets:rex.",
        ),
    ],
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="VIDEO", help="Videos of the index that show it, or folders of them.")
    ] = None,
    begin: Begin = None,
    end: End = None,
    describe: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the class looks like, in words, where its name does not say it."),
    ] = None,
    multi: Multi = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Give an example of a class.

    \b
    Example:
      vidfind learn add pets rex 2023/IMG_0412.mp4 --describe "a brown labrador"
    """
    from vidfind.categories.labels import add_classes, class_label, tasks_of_many
    from vidfind.categories.tasks import split_name
    from vidfind.display import console
    from vidfind.display.labels.categories import class_json, show_added

    videos = videos or []
    if split_name(task)[1]:
        (task, name_of_class), videos = split_name(task), [name_of_class, *videos]
    if not videos:
        raise typer.BadParameter("VIDEO is missing.")
    store = open_index(name)
    rows = named_videos(open_finder(store, Path()), videos)
    if len(rows) > 1 and (begin or end):
        raise Unusable(f"--from and --to need a single video, and there are {len(rows)}.")
    part = part_of(begin, end, rows[0])
    try:
        labels = [class_label(row, task, name_of_class, part.start, part.end, describe or "") for row in rows]
    except BadInput as error:
        raise Unusable(str(error)) from error
    added = add_classes(store, labels, tasks_of_many(store, multi or ()))
    if as_json:
        for label, row in zip(added.labels, rows, strict=True):
            console.json_line(class_json(label, row.path))
    else:
        show_added(store, added)


@classes.command(name="import", cls=Command)
def import_list(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A CSV, TSV or JSON lines file, or a folder of TASK/CLASS/VIDEO."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added, and change nothing.")] = False,
    strict: Strict = False,
    multi: Multi = None,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the examples of a list, or of folders.

    The first line of a list names its columns: task, class and path, and also start, end and describe. Rows that cannot
    be used are left out and listed. In a folder, pets/Rex/clip.mp4 is an example of pets:Rex; the videos must be
    indexed where they are.

    \b
    Example:
      vidfind learn import pets.csv
    """
    from vidfind.categories.labels import (
        add_classes,
        planned,
        read_class_folder,
        read_class_list,
        tasks_of_many,
    )
    from vidfind.display import console
    from vidfind.display.labels.categories import import_json, show_import
    from vidfind.tagging.edit import read_file

    store = open_index(name)
    place = Path(os.path.expanduser(source))
    many = tasks_of_many(store, multi or ())
    if place.is_dir():
        found = read_class_folder(Path(os.path.abspath(place)), open_finder(store, place), many)
    else:
        finder = open_finder(store, place.parent)
        found = read_class_list(read_file(place), source, finder, many)
    require_rows(found, source)
    added = (planned if dry_run else add_classes)(store, found.labels, many)
    if as_json:
        console.json_line(import_json(found, added))
    else:
        show_import(found, added, dry_run)
    if strict and found.skipped:
        raise typer.Exit(ExitCode.ERROR)


@classes.command(cls=Command)
def fit(
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="Learn only this task; others stay as they are. May be repeated."),
    ] = None,
    mode: Annotated[
        Literal["auto", "prototype", "linear", "vector", "token"],
        typer.Option(
            help="The most that is tried: prototype (the mean look of examples), linear (a linear probe), vector (a "
            "network that tasks share), token (SoftCPT: it tunes prompts, and needs minutes), or auto (what the time "
            "allows). What did best on examples left out is used."
        ),
    ] = "auto",
    reference: Annotated[
        bool, typer.Option("--reference", help="Tune prompts exactly as SoftCPT was published. Takes long.")
    ] = False,
    multi: Multi = None,
    allow_zero_shot: Annotated[
        bool, typer.Option("--allow-zero-shot", help="Learn a class without a usable example from its name alone.")
    ] = False,
    max_seconds: MaxSeconds = 60.0,
    seed: Seed = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how well it goes, and change nothing.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn all classes from their examples.

    The moments that show them are marked. No video is read again. Several ways to learn are tried, each on examples
    that it has not seen, and the best is used. Classes with fewer than three videos, or found no better than by chance,
    are given to nothing by themselves.

    \b
    Example:
      vidfind learn fit
    """
    from vidfind.categories.fitting import FitOptions, fit_classes
    from vidfind.categories.tasks import Learning
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.labels.categories import fitted_json, show_fitted
    from vidfind.words.half import text_encoder

    store = open_index(name)
    if reference and mode not in ("auto", "token"):
        raise typer.BadParameter("--reference tunes prompts: leave --mode out, or give --mode token.")
    learning = Learning("token" if reference else mode, seed, max_seconds, is_reference=reference)
    asked = FitOptions(learning, tuple(tasks or ()), tuple(multi or ()), allow_zero_shot, dry_run)
    with Activity("Learning", enabled=not as_json) as activity:
        load = whole_loader(store, activity, device, dtype)
        fitted = fit_classes(store, text_encoder(store, load, activity.announce), asked, load)
    if as_json:
        for line in fitted_json(fitted):
            console.json_line(line)
    else:
        show_fitted(fitted, dry_run, store.path)


@classes.command(name="list", cls=Command)
def list_classes(
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List all classes, and how many videos show them.

    \b
    Example:
      vidfind learn list
    """
    from vidfind.categories.fitting import list_classes
    from vidfind.commands import learn_add_command
    from vidfind.display import console
    from vidfind.display.labels.categories import listed_json, show_listed

    store = open_index(name)
    listed = list_classes(store)
    if as_json:
        for one in listed:
            console.json_line(listed_json(one))
    elif listed:
        show_listed(listed, store.path)
    else:
        console.message(f"There are no classes yet. Give some examples: {learn_add_command(store.path)}")


@classes.command(cls=Command)
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task, such as pets, or one of its classes: pets:rex.")],
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a task, and the examples of its classes.

    \b
    Example:
      vidfind learn show pets
    """
    from vidfind.categories.fitting import list_classes
    from vidfind.categories.labels import labels_of
    from vidfind.categories.saved import read_classes
    from vidfind.categories.tasks import split_name
    from vidfind.display import console
    from vidfind.display.labels.categories import class_json, show_task
    from vidfind.tagging.edit import rows_by_file
    from vidfind.tagging.labels import name_key

    store = open_index(name)
    task, of_class = split_name(task)
    labels = labels_of(store, task, of_class or None)
    rows = rows_by_file(store)
    if as_json:
        for label in labels:
            console.json_line(class_json(label, rows[label.video].path if label.video in rows else None))
        return
    shown = {(name_key(label.task), name_key(label.name)) for label in labels}
    own = [one for one in list_classes(store) if (name_key(one.task), name_key(one.name)) in shown]
    show_task(own, labels, rows, read_classes(store))


@classes.command(name="export", cls=Command)
def export_file(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to, or -; .jsonl makes JSON lines. [default: print them]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write your examples to a CSV file.

    `vidfind learn import` reads it back.

    \b
    Example:
      vidfind learn export classes.csv
    """
    from vidfind.categories.labels import EXPORTED, class_rows
    from vidfind.tagging.edit import rows_by_file

    store = open_index(name)
    rows = [*class_rows(store, rows_by_file(store))]
    gone = len(store.labels("class", also_gone=True)) - len(rows)
    write_list(rows, EXPORTED, "example", file, force, as_json, gone)


@classes.command(cls=Command)
def forget(
    what: Annotated[
        str, typer.Argument(metavar="CLASS", help="A class, such as pets:rex, or a whole task, such as pets.")
    ],
    yes: Yes = False,
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Forget the examples of a task or of one class. Videos stay as they are.

    Asks first at a terminal; elsewhere, --yes is needed for more than 20 examples. `vidfind learn export` keeps them in
    a list.

    \b
    Example:
      vidfind learn forget pets:rex
    """
    from vidfind.categories.fitting import drop_classes
    from vidfind.categories.labels import labels_of, shown_name
    from vidfind.categories.tasks import split_name
    from vidfind.display import console
    from vidfind.display.text import plural

    store = open_index(name)
    task, of_class = split_name(what)
    labels = labels_of(store, task, of_class or None)
    shown = shown_name(labels[0]) if of_class else labels[0].task
    examples = plural(len(labels), "example")
    ask_before(len(labels), yes, f"Forget {shown}, of {examples}?", f"Forgetting {examples}")
    drop_classes(store, labels, whole_task=not of_class)
    if as_json:
        console.json_line(
            {"task": labels[0].task, "class": labels[0].name if of_class else None, "examples": len(labels)}
        )
    else:
        console.message(f"Forgot {shown}: {examples}.")


@classes.command(cls=Command)
def apply(
    name: IndexName = paths.DEFAULT_INDEX,
    maps: Maps = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Mark all moments anew with what was learned last.

    `vidfind learn fit` does this too, and `vidfind index` for new videos.

    \b
    Example:
      vidfind learn apply
    """
    from vidfind.categories.fitting import apply_classes
    from vidfind.display import console
    from vidfind.display.labels.categories import found_json, show_found

    learned, found = apply_classes(open_index(name))
    if as_json:
        for line in found_json(learned, found):
            console.json_line(line)
    else:
        show_found(learned, found)
