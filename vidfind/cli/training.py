"""`vidfind finetune` and `vidfind eval`: teaches the model the user's words, and measures encoders."""

import functools
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfind.cli.index import run_index
from vidfind.cli.shared import completion
from vidfind.cli.shared.indexing import RunOptions
from vidfind.cli.shared.options import (
    PAIRS,
    Device,
    Dtype,
    EncoderOption,
    IndexName,
    Json,
    Model,
    Nice,
    Overlap,
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
from vidfind.commands import OTHER_INDEX, adapter_command, default_command, index_command, show_command
from vidfind.encoders.names import DEFAULT_NUM_FRAMES, EncoderChoice
from vidfind.errors import ExitCode
from vidfind.media.sampling import DEFAULT_SAMPLING
from vidfind.models.catalog import default_encoder
from vidfind.store.places.path import index_path
from vidfind.system import paths
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_HELD_OUT, Recipe

if TYPE_CHECKING:
    from vidfind.display.activity import Activity
    from vidfind.models.adapter_file import AdapterInfo
    from vidfind.store.store import Store
    from vidfind.training.adopt import Saved
    from vidfind.training.finetune import FineTuning
    from vidfind.training.pairs import Pair

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
        good = _read_pairs(pairs, skip_bad)
        split_pairs(good, recipe.val, recipe.seed)
        activity.say("Loading the model")
        use_threads(threads)
        store = _store_if_any(index_name)
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


def _store_if_any(index_name: str) -> "Store | None":
    """Returns the index, if there is one. Raises IndexNotFound for a missing one that was named."""
    from vidfind.store.settings import is_index
    from vidfind.store.store import Store

    path = index_path(index_name)
    return Store.open(path) if index_name != paths.DEFAULT_INDEX or is_index(path) else None


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

    assert training.before and training.after
    name, encoder = saved.info.name, saved.info.encoder
    show_before_and_after(
        training.before, training.after, len(training.pool), training.is_better, training.words, training.marks
    )
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
            "It finds less than before. More pairs help most; fewer --epochs or a smaller --lr may. "
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


def evaluate_command(
    pairs: Annotated[Path | None, PAIRS] = None,
    match: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="FILE FILE",
            help="Instead: try how well the match of a search tells descriptions of what is in the index, a line for "
            "each in the first file, from those of what is not, in the second.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        adapter_option("The adapter to evaluate, or none.", "the index's own, or none"),
    ] = None,
    encoder: EncoderOption = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Compare several encoders and adapters, with time, GFLOPs and tokens: mean,tempme,NAME.",
            autocompletion=completion.names_to_compare,
        ),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    segment: SegmentLength = None,
    overlap: Overlap = None,
    sampling: SamplingChoice = DEFAULT_SAMPLING,
    skip_bad: SkipBad = False,
    name: IndexName = paths.DEFAULT_INDEX,
    device: Device = "auto",
    dtype: Dtype = "auto",
    details: Annotated[
        bool, typer.Option("--details", help="Show recall, ranks, and what a clip costs, in a table.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well an encoder finds your videos.

    By captions that you wrote; a few dozen are enough.

    \b
    Example:
      vidfind eval --pairs captions.csv --compare tempme,mean
    """
    if (pairs is None) == (match is None):
        raise typer.BadParameter("Give either --pairs FILE, or --match FILE FILE.")
    if match:
        from vidfind.cli.search import try_match

        try_match(*match, name, as_json)
        return
    assert pairs
    asked = EncoderChoice(model, pretrained, encoder, adapter)
    names = list(dict.fromkeys(filter(None, map(str.strip, (compare or "").split(",")))))
    if compare is not None and not names:
        raise typer.BadParameter("Give --compare the names of encoders or adapters: tempme,mean")
    if names and (adapter or encoder):
        raise typer.BadParameter("Give --compare, or else --adapter and --encoder.")

    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.text import printable
    from vidfind.display.training import show_verdict, verdict_json

    with Activity("Loading PyTorch", enabled=not (as_json and sys.stdout.isatty())) as activity:
        from vidfind.models.load import load_choice
        from vidfind.store.settings import IndexSettings
        from vidfind.training.choose import choose_encoders, load_encoders, words_of
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
            functools.partial(load_choice, device=device, dtype=dtype, announce=activity.announce),
            lambda column: activity.say(f"Loading {printable(column)}"),
        )
        activity.say("Reading videos")
        length = segment or (settings or IndexSettings).segment_length
        overlaps = (settings or IndexSettings).overlap if overlap is None else overlap
        verdict: Verdict | None = None
        with closing(evaluate(good, encoders, length, sampling, overlaps, words_of(choices))) as events:
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
        show_verdict(verdict, details)


def _read_pairs(path: Path, skip_bad: bool) -> "list[Pair]":
    """Returns the pairs of a file of captions; shows all bad lines, which are an error unless they are ignored."""
    from vidfind.display.training import show_bad_lines
    from vidfind.training.pairs import read_pairs, require_good

    pairs, bad = read_pairs(path)
    show_bad_lines(path, bad)
    if not skip_bad:
        require_good(path, bad)
    return pairs
