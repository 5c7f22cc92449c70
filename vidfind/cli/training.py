"""The commands that teach vidfind and judge it: parse, call a pipeline, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfind.cli import completion
from vidfind.cli.index import RunOptions, run_index
from vidfind.cli.options import (
    Device,
    Dtype,
    EncoderOption,
    IndexName,
    Json,
    Model,
    Nice,
    Pairs,
    Pretrained,
    Quiet,
    SamplingChoice,
    SegmentLength,
    SkipBad,
    Threads,
    Verbose,
    adapter_option,
)
from vidfind.commands import OTHER_INDEX, adapter_command, index_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES
from vidfind.errors import ExitCode
from vidfind.media.sampling import DEFAULT_SAMPLING
from vidfind.system import paths
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_HELD_OUT, Recipe

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.models.adapter_file import Adapter
    from vidfind.store.store import Store
    from vidfind.training.finetune import FineTuning
    from vidfind.training.pairs import Pair

DEFAULT_ADAPTER = "home"


def finetune_command(
    pairs: Pairs,
    name: Annotated[str, typer.Option(metavar="NAME", help="What to save the adapter as.")] = DEFAULT_ADAPTER,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help=f"How often all pairs are gone through. [default: {FEWEST_EPOCHS}, or more for few pairs]",
        ),
    ] = None,
    lr: Annotated[
        float, typer.Option(metavar="RATE", min=0.0, help="The highest learning rate.")
    ] = Recipe.learning_rate,
    rank: Annotated[
        int, typer.Option(metavar="RANK", min=1, help="Rank of the LoRA matrices: how much can be learned.")
    ] = Recipe.rank,
    batch_size: Annotated[int, typer.Option(metavar="PAIRS", min=2, help="Pairs a step.")] = Recipe.batch_size,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help=f"Frames of each clip; tempme needs a multiple of 8 or 12. [default: {DEFAULT_NUM_FRAMES}]",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Seed of all that is random: what is held out, and in which order.")
    ] = Recipe.seed,
    val: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help=f"Share of the pairs held out to judge by, at least {FEWEST_HELD_OUT} pairs."
        ),
    ] = Recipe.val,
    full: Annotated[bool, typer.Option("--full", help="Train all of the model, not a small addition to it.")] = False,
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Train only how words are read: the quick way to teach names.")
    ] = False,
    adapter: Annotated[
        str | None,
        adapter_option("The adapter to go on from, or none.", "with --text-only the index's own, or none"),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    encoder: EncoderOption = None,
    skip_bad: SkipBad = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the adapter of this name.")] = False,
    reencode: Annotated[
        bool | None,
        typer.Option("--reencode/--no-reencode", help="Whether to encode the index again afterwards. [default: ask]"),
    ] = None,
    index_name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    nice: Nice = False,
    threads: Threads = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Teach vidfind your own words from videos with captions: names, places, things that only you call so.

    Some pairs are held out, and recall on them is shown before and after. Ctrl-C keeps the best state so far.

    \b
    Example:
      vidfind finetune --pairs captions.csv --name home
    """
    if full and text_only:
        raise typer.BadParameter("Give either --full or --text-only.")
    asked = {"model": model, "pretrained": pretrained, "encoder": encoder}

    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import printable
    from vidfind.models.saved_adapters import check_free

    file = check_free(name, force)  # and all else that can be wrong, before a model is fetched or an hour is spent
    with Activity("Starting") as activity:
        from vidfind.models.load import load_for_training
        from vidfind.system.machine import use_threads
        from vidfind.training.finetune import FineTuning, use_autocast
        from vidfind.training.pairs import pairs_digest, split_pairs

        recipe = Recipe(epochs, lr, rank, batch_size, seed, val, full=full, text_only=text_only)
        activity.say(f"Reading {printable(pairs)}")
        good = _read_pairs(pairs, skip_bad)
        split_pairs(good, recipe.val, recipe.seed)
        activity.say("Loading the model")
        use_threads(threads)
        store = _store_if_any(index_name)
        choice = _what_to_train(store, adapter, _given(asked), text_only)
        base, start = load_for_training(num_frames=frames, device=device, announce=activity.announce, **choice)
        with FineTuning(good, base, recipe, start, use_autocast(dtype, base), skip_bad) as training:
            was_stopped = _train(training, activity)
        tuned = training.adapter(name, pairs_digest(training.training))
    if tuned is None:
        console.message("Stopped before anything was learned: nothing is saved.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    is_better = _save(tuned, training, file, store)
    if was_stopped:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if is_better:
        _offer(file, store, training, reencode, RunOptions(device, dtype, threads))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given; the pipeline's own defaults hold for the others."""
    return {name: value for name, value in options.items() if value is not None}


def _store_if_any(index_name: str) -> "Store | None":
    """The index, where there is one. One that is named must be there."""
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store

    path = paths.index_path(index_name)
    return Store.open(path) if index_name != paths.DEFAULT_INDEX or is_index(path) else None


def _what_to_train(
    store: "Store | None", adapter: str | None, asked: Mapping[str, str], text_only: bool
) -> dict[str, Any]:
    """The arguments of `load_for_training`: what was asked for, or else what the index was made with."""
    ours = store.settings.identity if store else None
    if adapter == paths.NO_ADAPTER:
        start: Path | str | None = None
    elif adapter or not (store and text_only):
        start = adapter
    else:  # so that the index's vectors stay valid
        start = store.adapter
    if start and adapter:  # an adapter knows what it was trained with
        return {"adapter": start, **asked}
    if not ours or asked.get("model", ours.model) != ours.model:
        return {"adapter": None, **asked}
    return {"adapter": start, "model": ours.model, "pretrained": ours.pretrained, "encoder": ours.encoder, **asked}


def _train(training: "FineTuning", activity: "Activity") -> bool:
    """Runs the training to its end or until Ctrl-C, and shows how it goes; whether it was stopped."""
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.display.training import show_lines, training_facts, training_lines
    from vidfind.training.finetune import Decoded, Validated

    judged: list[Validated] = []
    try:
        for event in training.run():
            if isinstance(event, Decoded):
                activity.say(f"Reading videos: {event.done:,} of {plural(event.total, 'clip')}")
            elif isinstance(event, Validated):
                judged.append(event)
                activity.say("Training")
            else:
                activity.draw(training_lines(event, judged, console.messages.width), training_facts(event, judged))
    except KeyboardInterrupt:
        activity.announce("Stopped.")
        return True
    finally:
        if training.bad:
            activity.announce("These moments cannot be decoded:")
            show_lines(training.bad)
    return False


def _save(tuned: "Adapter", training: "FineTuning", path: Path, store: "Store | None") -> bool:
    """Saves the adapter and shows what it has changed; whether it is no worse than before.

    One of another encoder than new indexes or the one in use have is a trial, and does not become the default."""
    from vidfind.display import console
    from vidfind.display.training import show_before_and_after
    from vidfind.models.adapter_file import write_adapter
    from vidfind.models.catalog import DEFAULT_ENCODER
    from vidfind.models.default_adapters import set_default_adapter

    assert tuned.info and training.before and training.after
    name = tuned.info.name
    write_adapter(path, tuned)
    show_before_and_after(training.before, training.after, len(training.held_out), len(training.pool))
    if tuned.info.kind == "frozen":
        console.note(
            f"Before: plain CLIP, the encoder mean, as {tuned.info.encoder} knows nothing before it is trained."
        )
    if training.after.r_sum < training.before.r_sum:
        console.message(
            f"That is worse than before. It is saved as {name}, but not the default. More pairs help most; "
            f"fewer --epochs or a smaller --lr may. To use it all the same: {index_command(adapter=name)}"
        )
        return False
    encoder = tuned.info.encoder
    if encoder == DEFAULT_ENCODER or (store and store.settings.identity.encoder == encoder):
        set_default_adapter(name)
        its_encoder = f", and its encoder {encoder}" if encoder != DEFAULT_ENCODER else ""
        console.message(f"Saved as {name}. New indexes of this model use it{its_encoder}.")
    else:
        console.message(f"Saved as {name}.")
    return True


def _offer(
    saved: Path, store: "Store | None", training: "FineTuning", reencode: bool | None, options: RunOptions
) -> None:
    """Puts the index through the new adapter: at once where its vectors stay valid, else if the user agrees."""
    from vidfind.display import console
    from vidfind.display.models import cost_text
    from vidfind.index.prepare import reencode_cost
    from vidfind.models.adapter_file import read_info
    from vidfind.models.load import joint_digest

    info, base = read_info(saved), training.encoder.identity
    ours = store.settings.identity if store and store.count_videos() else None
    if not store or not ours or (ours.model, ours.encoder) != (base.model, base.encoder):
        other, why = None, ""
        if store and ours:
            other = OTHER_INDEX
            why = f", as the index {store.path.name!r} is of {ours.encoder if ours.model == base.model else ours.model}"
        console.message(f"To use it: {index_command(other, adapter=info.name)}{why}")
        return
    stays_valid = ours.weights_digest == joint_digest(base.weights_digest, info.video_digest)
    if not stays_valid and reencode is None and sys.stdin.isatty():
        cost = cost_text(reencode_cost(store))
        reencode = typer.confirm(f"Encode {cost} of the index {store.path.name!r} again with it?", err=True)
    if stays_valid or reencode:
        run_index([], store.path.name, {"adapter": info.name}, options)
    else:
        console.message(f"To use it in the index {store.path.name!r}: {adapter_command(store.path, info.name)}")


def evaluate_command(
    pairs: Pairs,
    adapter: Annotated[
        str | None,
        adapter_option("The adapter to judge, or none.", "the index's own, or none"),
    ] = None,
    encoder: EncoderOption = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Judge several encoders and adapters side by side, with time and tokens: mean,tempme,NAME.",
            autocompletion=completion.names_to_compare,
        ),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    segment: SegmentLength = None,
    sampling: SamplingChoice = DEFAULT_SAMPLING,
    skip_bad: SkipBad = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well an encoder finds videos by captions of yours; write down a few dozen to know.

    \b
    Example:
      vidfind eval --pairs captions.csv --compare tempme,mean
    """
    given = {"model": model, "pretrained": pretrained, "encoder": encoder, "adapter": adapter}
    asked = {key: None if value == paths.NO_ADAPTER else value for key, value in given.items() if value is not None}
    names = list(dict.fromkeys(filter(None, map(str.strip, (compare or "").split(",")))))
    if compare is not None and not names:
        raise typer.BadParameter("Give --compare the names of encoders or adapters: tempme,mean")
    if names and (adapter or encoder):
        raise typer.BadParameter("Give --compare, or else --adapter and --encoder.")

    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import printable
    from vidfind.display.training import show_verdict, verdict_json

    with Activity("Starting", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.store.settings import IndexSettings
        from vidfind.training.choose import choose_encoders, load_encoders
        from vidfind.training.evaluate import Measuring, Verdict, check_pairs, evaluate

        store = _store_if_any(name)
        settings = store.settings if store else None
        choices = choose_encoders(
            names, asked, settings.identity if settings else None, store.adapter if store else None, activity.announce
        )
        activity.say(f"Reading {printable(pairs)}")
        good = _read_pairs(pairs, skip_bad)
        check_pairs(good)  # before a model is fetched for nothing
        encoders = load_encoders(
            choices,
            lambda column: activity.say(f"Loading {printable(column)}"),
            device=device,
            dtype=dtype,
            announce=activity.announce,
        )
        activity.say("Reading videos")
        length = segment or (settings or IndexSettings).segment_length
        verdict: Verdict | None = None
        with closing(evaluate(good, encoders, length, sampling)) as events:
            for event in events:
                if isinstance(event, Verdict):
                    verdict = event
                elif isinstance(event, Measuring):
                    activity.say("Measuring time and tokens")
                else:
                    activity.advance(event)
        assert verdict
    if as_json:
        for values in verdict_json(verdict):
            console.json_line(values)
    else:
        show_verdict(verdict)


def _read_pairs(path: Path, skip_bad: bool) -> "list[Pair]":
    """The pairs of a file of captions. All its bad lines are shown, and an error unless they are to be skipped."""
    from vidfind.display.training import show_bad_lines
    from vidfind.training.pairs import read_pairs, require_good

    pairs, bad = read_pairs(path)
    show_bad_lines(path, bad)
    if not skip_bad:
        require_good(path, bad)
    return pairs
