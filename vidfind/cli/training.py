"""`vidfind finetune`: teaches the model the user's own words."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli.index import run_index
from vidfind.cli.shared.captioned import read_good_pairs, store_if_any
from vidfind.cli.shared.indexing import RunOptions
from vidfind.cli.shared.options import (
    Device,
    Dtype,
    EncoderOption,
    IndexName,
    Model,
    Nice,
    Pairs,
    Pretrained,
    Quiet,
    SkipBad,
    Threads,
    Verbose,
    adapter_option,
)
from vidfind.commands import OTHER_INDEX, adapter_command, default_command, index_command, show_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderChoice
from vidfind.errors import ExitCode
from vidfind.models.catalog import default_encoder
from vidfind.system import paths
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_HELD_OUT, Recipe

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.models.adapter_file import AdapterInfo
    from vidfind.store.store import Store
    from vidfind.training.adopt import Saved
    from vidfind.training.finetune import FineTuning

DEFAULT_ADAPTER = "home"


def finetune_command(
    pairs: Pairs,
    name: Annotated[str, typer.Option(metavar="NAME", help="The name of the new adapter.")] = DEFAULT_ADAPTER,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help=f"Number of passes through all pairs. [default: {FEWEST_EPOCHS}, or more for few pairs]",
        ),
    ] = None,
    lr: Annotated[
        float, typer.Option(metavar="RATE", min=0.0, help="The highest learning rate.")
    ] = Recipe.learning_rate,
    rank: Annotated[
        int,
        typer.Option(
            metavar="RANK", min=1, help="Size of the trained addition (LoRA rank): a larger one can learn more."
        ),
    ] = Recipe.rank,
    batch_size: Annotated[
        int, typer.Option(metavar="PAIRS", min=2, help="Number of pairs per step.")
    ] = Recipe.batch_size,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help=f"Number of frames per clip; tempme needs a multiple of 8 or 12. [default: {DEFAULT_NUM_FRAMES}]",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="NUMBER", help="Seed of everything random: which pairs are held out, and the order of the others."
        ),
    ] = Recipe.seed,
    val: Annotated[
        float,
        typer.Option(metavar="SHARE", help=f"Share of the pairs that is held out, at least {FEWEST_HELD_OUT} pairs."),
    ] = Recipe.val,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Train all weights of the model, not a small addition; the adapter is then as large as they are.",
        ),
    ] = False,
    text_only: Annotated[
        bool,
        typer.Option(
            "--text-only",
            help="Train only the text half: quick, the index stays valid, and enough for names of what the model sees.",
        ),
    ] = False,
    word: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD[=NOUN]",
            help="A word of your captions to teach, and the kind of thing that it names: Rex=dog. Repeatable. Words "
            "that the model cannot place are found without it.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        adapter_option("The adapter to continue training from, or none.", "with --text-only the index's own, or none"),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    encoder: EncoderOption = None,
    skip_bad: SkipBad = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the adapter of this name.")] = False,
    default: Annotated[
        bool | None,
        typer.Option(
            "--default/--no-default",
            help="Whether new indexes of this model use the adapter. [default: if it clearly finds more]",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        bool | None,
        typer.Option(
            "--use/--no-use",
            help="Whether the index uses the adapter from now on; it is encoded again if need be. [default: ask]",
            show_default=False,
        ),
    ] = None,
    index_name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    nice: Nice = False,
    threads: Threads = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Teach vidfind your own words from captions.

    Write captions for some of your videos, with names of people, places and things. Some captions are held out from
    training, and recall on them is shown before and after. Ctrl-C keeps the best state so far.

    \b
    Example:
      vidfind finetune --pairs captions.csv --name home
    """
    if full and text_only:
        raise typer.BadParameter("Give either --full or --text-only.")
    asked = EncoderChoice(model, pretrained, encoder, adapter, frames)
    words = dict(map(_word_and_noun, word or []))

    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import printable
    from vidfind.models.saved_adapters import check_free

    file = check_free(name, force)  # and all else that can be wrong, before a model is fetched or an hour is spent
    with Activity("Loading PyTorch") as activity:
        from vidfind.models.load import load_for_training
        from vidfind.system.machine import use_threads
        from vidfind.training.adopt import choose_start, save_trained
        from vidfind.training.features import use_autocast
        from vidfind.training.finetune import FineTuning
        from vidfind.training.pairs import pairs_digest, split_pairs

        recipe = Recipe(epochs, lr, rank, batch_size, seed, val, full=full, text_only=text_only)
        activity.say(f"Reading {printable(pairs)}")
        good = read_good_pairs(pairs, skip_bad)
        split_pairs(good, recipe.val, recipe.seed)
        activity.say("Loading the model")
        use_threads(threads)
        store = store_if_any(index_name)
        base, start = load_for_training(choose_start(asked, store, text_only), device, activity.announce)
        with FineTuning(good, base, recipe, start, use_autocast(dtype, base), skip_bad, words) as training:
            was_stopped = _train(training, activity)
        tuned = training.adapter(name, pairs_digest(training.training))
    if tuned is None:
        console.message("Stopped before anything was learned: nothing is saved.")
        raise typer.Exit(ExitCode.INTERRUPTED)
    assert training.before and training.after
    saved = save_trained(tuned, file, store, is_worse=training.is_worse, is_better=training.is_better, default=default)
    _show_saved(saved, training)
    if was_stopped:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if use or not saved.is_worse:
        _offer(saved.info, store, training, use, RunOptions(device, dtype, threads))


def _word_and_noun(text: str) -> tuple[str, str]:
    """Returns the two parts of a --word: `Rex=dog`, or `Rex` without a noun."""
    word, equals, noun = (part.strip() for part in text.partition("="))
    if not any(map(str.isalnum, word)) or (equals and not any(map(str.isalpha, noun))):
        raise typer.BadParameter(f"Give --word a word, and what kind of thing it names: Rex=dog, not {text!r}.")
    return word, noun


def _train(training: "FineTuning", activity: "Activity") -> bool:
    """Runs the training to its end or until Ctrl-C and shows its progress; returns whether it was stopped."""
    from vidfind.display import console
    from vidfind.display.text import plural
    from vidfind.display.training import show_lines, training_facts, training_lines
    from vidfind.training.clips import Decoded
    from vidfind.training.recall import Validated

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


def _show_saved(saved: "Saved", training: "FineTuning") -> None:
    """Shows what training has changed, and what becomes of the adapter."""
    from vidfind.display import console
    from vidfind.display.training import show_before_and_after

    name, encoder = saved.info.name, saved.info.encoder
    show_before_and_after(training)
    if saved.info.kind == "frozen":
        console.note(f"Before: plain CLIP, the encoder mean, as {encoder} knows nothing before it is trained.")
    console.message(f"Saved as {name}. More about it: {show_command(name)}")
    if saved.is_default:
        its_encoder = f", and its encoder {encoder}" if encoder != default_encoder(saved.info.model) else ""
        console.message(f"New indexes of this model use it{its_encoder}. To change that: {default_command()}")
    else:
        console.message(f"New indexes do not use it by themselves. To change that: {default_command(name)}")
    if saved.is_worse:
        console.message(
            "The held-out captions place their videos lower than before. More pairs help most; fewer --epochs or a "
            "smaller --lr may. "
            f"To use it all the same: {index_command(adapter=name)}"
        )


def _offer(
    info: "AdapterInfo", store: "Store | None", training: "FineTuning", use: bool | None, options: RunOptions
) -> None:
    """Gives the index the adapter if the user wants that; unasked, where it is clearly better and costs nothing."""
    from vidfind.display import console
    from vidfind.display.models import cost_text
    from vidfind.index.prepare import reencode_cost
    from vidfind.training.adopt import fit_of

    base = training.encoder.identity
    fit = fit_of(info, base, store)
    if not store or fit == "no index":
        console.message(f"To use it: {index_command(adapter=info.name)}")
        return
    index, ours = store.path.name, store.settings.identity
    if fit == "other encoder":
        other = ours.encoder if ours.model == base.model else ours.model
        command = index_command(OTHER_INDEX, adapter=info.name)
        console.message(f"To use it: {command}, as the index {index!r} is of {other}")
        return
    if use is None and sys.stdin.isatty():
        cost = f"That encodes {cost_text(reencode_cost(store))} again." if fit == "other vectors" else ""
        use = typer.confirm(f"Use it in the index {index!r}? {cost}".rstrip(), err=True)
    if use is None:
        use = training.is_better and fit == "same vectors"
    if use:
        run_index([], index, EncoderChoice(adapter=info.name), options)
    else:
        console.message(f"To use it in the index {index!r}: {adapter_command(store.path, info.name)}")
