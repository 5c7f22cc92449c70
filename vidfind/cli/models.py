"""`vidfind models`, `encoders` and `adapters`: what can be chosen, and what fine-tuning has saved."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidfind.cli.shared import completion
from vidfind.cli.shared.options import Device, Dtype, IndexName, Json, Quiet, Threads, Verbose, Yes, model_option
from vidfind.cli.shared.usage import Command, Group
from vidfind.commands import OTHER_INDEX, adapter_command, finetune_help_command, index_command
from vidfind.errors import BadInput
from vidfind.models.catalog import DEFAULT_MODEL, TEMPME_MODEL, TEMPME_PRETRAINED
from vidfind.store.places.path import index_path
from vidfind.system import paths

adapters = typer.Typer(name="adapters", cls=Group)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a saved adapter.", autocompletion=completion.adapter_names)
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]


@adapters.callback(invoke_without_command=True)
def list_all(context: typer.Context, as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the adapters that fine-tuning has saved.

    \b
    Example:
      vidfind adapters
    """
    if context.invoked_subcommand is not None:
        return
    from vidfind.display import console
    from vidfind.display.models import adapter_json, show_adapters
    from vidfind.models.saved_adapters import list_adapters

    saved = list_adapters()
    if as_json:
        for adapter in saved:
            console.json_line(adapter_json(adapter))
    elif saved:
        show_adapters(saved)
    else:
        console.message(f"There are no adapters yet. Fine-tuning makes them: {finetune_help_command()}")


@adapters.command(cls=Command)
def show(name: Name, as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show what an adapter was trained on, and how well it does.

    Also which indexes use it.

    \b
    Example:
      vidfind adapters show home
    """
    from vidfind.display import console
    from vidfind.display.models import adapter_json, show_adapter
    from vidfind.models.saved_adapters import saved_adapter
    from vidfind.store.settings import indexes_with

    saved = saved_adapter(name)
    used_by = indexes_with(name, paths.home() / "indexes")
    if as_json:
        console.json_line({**adapter_json(saved), "indexes": used_by})
    else:
        show_adapter(saved, used_by)


@adapters.command(cls=Command)
def remove(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Names of saved adapters.", autocompletion=completion.adapter_names),
    ],
    yes: Yes = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Delete saved adapters. Indexes made with them keep a copy, and can be searched as before.

    \b
    Example:
      vidfind adapters remove home
    """
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.models.adapter_file import find_adapter
    from vidfind.models.saved_adapters import remove_adapter
    from vidfind.store.settings import indexes_with

    names = list(dict.fromkeys(names))
    for name in names:
        find_adapter(name)
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("Deleting adapters must be confirmed: add --yes.")
        typer.confirm(f"Delete {plural(len(names), 'adapter')}: {', '.join(names)}?", abort=True, err=True)
    for name in names:
        used_by = indexes_with(name, paths.home() / "indexes")
        remove_adapter(name)
        kept = f" A copy stays in what was made with it: index {', '.join(used_by)}." if used_by else ""
        console.message(f"Deleted the adapter {name!r}.{kept}")


@adapters.command(cls=Command)
def export(
    name: Name,
    file: Annotated[
        str, typer.Argument(metavar="TARGET", help="A file that ends in .safetensors, or a folder for it.")
    ],
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Copy an adapter to a file.

    For instance, to import it on another machine.

    \b
    Example:
      vidfind adapters export home home.safetensors
    """
    from vidfind.display import console
    from vidfind.models.saved_adapters import export_adapter

    console.message(f"Wrote {export_adapter(name, file, force)}")


@adapters.command(cls=Command)
def default(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A saved adapter, or none.", autocompletion=completion.adapter_names_or_none
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let new indexes use an adapter, or none. Without NAME, show what they use.

    Indexes that exist stay as they are.

    \b
    Example:
      vidfind adapters default home
    """
    from vidfind.display import console
    from vidfind.display.models import show_defaults
    from vidfind.models.default_adapters import default_adapters, set_default_adapter, write_defaults

    if name == paths.NO_ADAPTER:
        write_defaults({})
    elif name is not None:
        model = set_default_adapter(name)
        console.message(f"New indexes of {model} use {name}. For one that exists: {adapter_command(OTHER_INDEX, name)}")
        return
    show_defaults(default_adapters())


@adapters.command(name="import", cls=Command)
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported adapter, or a checkpoint of TempMe.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the adapter. [default: its own name, or the file's]")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"The model that a checkpoint was trained on. [default: {TEMPME_MODEL}]"),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help=f"The weights it was trained on. [default: {TEMPME_PRETRAINED}]"),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Save an adapter from a file.

    One that was exported, or a checkpoint of the public TempMe code.

    \b
    Example:
      vidfind adapters import home.safetensors --name garden
    """
    from vidfind.display import console
    from vidfind.models.saved_adapters import import_adapter

    saved = import_adapter(file, name, model, pretrained, force)
    assert saved.info
    console.message(
        f"Saved the adapter {saved.name!r}, for {saved.info.model} / {saved.info.pretrained}. "
        f"To use it: {index_command(adapter=saved.name)}"
    )


def models_command(
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure how fast each is on this machine. Takes some minutes; says each as soon as it is known.",
        ),
    ] = False,
    threads: Threads = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the recommended models.

    With their sizes, licences, vectors and languages, how well they find as published, and which of them are on this
    machine. With --measure also how fast they are here: random weights serve, and nothing is downloaded.

    \b
    Example:
      vidfind models --measure
    """
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.models import model_json, show_models, speed_text
    from vidfind.models.hub import list_models

    models, speeds = list_models(), {}
    if measure:
        with Activity("Loading PyTorch", enabled=not (as_json and sys.stdout.isatty())) as activity:
            from vidfind.bench.models import measure_models
            from vidfind.system.machine import use_threads

            use_threads(threads)
            for entry, speed in measure_models(models, device, dtype, activity.say):
                speeds[entry.model] = speed
                if as_json:
                    console.json_line(model_json(entry, speed))
                else:
                    activity.announce(speed_text(entry, speed))
    if not as_json:
        show_models(models, speeds)
    elif not measure:
        for entry in models:
            console.json_line(model_json(entry))


def encoders_command(
    model: Annotated[str | None, model_option(f"the index's own, or {DEFAULT_MODEL}")] = None,
    name: IndexName = paths.DEFAULT_INDEX,
    threads: Threads = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the encoders with what each costs.

    Tokens, GFLOPs, trained parameters, and time on this machine. It measures with random weights, which are as fast
    as real ones, for a minute or two on two cores, longer with a larger model. Nothing is downloaded. `vidfind eval
    --compare` shows how well each finds your own videos.

    \b
    Example:
      vidfind encoders --model ViT-B-16
    """
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.models import comparison_json, show_comparison

    with Activity("Loading PyTorch", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.bench.encoders import compare_encoders
        from vidfind.store.settings import is_index
        from vidfind.store.store import Store
        from vidfind.system.machine import use_threads

        use_threads(threads)
        path = index_path(name)
        if model is None and (name != paths.DEFAULT_INDEX or is_index(path)):
            model = Store.open(path).settings.identity.model
        comparison = compare_encoders(model, device, dtype, activity.say)
    if as_json:
        for values in comparison_json(comparison):
            console.json_line(values)
    else:
        show_comparison(comparison)
