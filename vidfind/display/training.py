"""Shows recall tables, lines that cannot be used, and the progress of a training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vidfind.display.console import errors, new_table, note, say, show, show_list
from vidfind.display.text import gflops, milliseconds, plural, printable
from vidfind.system.times import clock
from vidfind.training.recall import Firsts, likely_range
from vidfind.training.recipe import FEWEST_TO_TELL

if TYPE_CHECKING:
    from vidfind.encoders.costs import ClipCost
    from vidfind.search.trial import Trial
    from vidfind.training.captions import BadLine
    from vidfind.training.evaluate import Verdict, WordFound
    from vidfind.training.finetune import FineTuning
    from vidfind.training.optimize import Stepped
    from vidfind.training.recall import Recall, Retrieval, Validated, WordMarks

# What a row shows, how, and which of its values is the best.
RECALL_ROWS: dict[str, tuple[Callable[["Recall"], float], str, Callable[..., float]]] = {
    "R@1": (lambda recall: recall.r1, ".1f", max),
    "R@5": (lambda recall: recall.r5, ".1f", max),
    "R@10": (lambda recall: recall.r10, ".1f", max),
    "Median rank": (lambda recall: recall.median, ".4g", min),
    "Mean rank": (lambda recall: recall.mean, ".1f", min),
}
MANY = 4  # columns: their names go on in the next line after a hyphen
CROWDED = 6  # columns: they stand closer
COST_ROWS: dict[str, tuple[Callable[["ClipCost"], float], Callable[[Any], str]]] = {
    "Time, ms": (lambda cost: cost.seconds, milliseconds),
    "GFLOPs": (lambda cost: cost.flops, gflops),
    "Tokens": (lambda cost: cost.tokens, "{:,}".format),
}
"""Rows of costs of encoding a clip: how each is shown; less is better."""


def show_bad_lines(path: Path, bad: Sequence["BadLine"]) -> None:
    """Prints on stderr the lines of a file of captions that cannot be used, each with the reason."""
    if not bad:
        return
    heading = f"{printable(path)} has lines that cannot be used:"
    say(errors, Text(heading, style="bold yellow"))
    show_lines(bad)


def show_lines(bad: Sequence["BadLine"]) -> None:
    """Returns the line number and the reason of each."""
    for one in bad:
        say(errors, Text.assemble(f"  line {one.line}: ", (printable(one.reason), "yellow")))


def show_verdict(verdict: "Verdict", details: bool = False) -> None:
    """Shows how many captions find what they describe; with `details`, recall, ranks, and the cost of a clip."""
    if details:
        show(recall_table(verdict.retrieval, verdict.costs))
    elif len(verdict.retrieval) == 1:
        (retrieval,) = verdict.retrieval.values()
        recall = retrieval.text_to_video
        what = "moment" if verdict.moments else "video"
        show(
            Text(
                f"Of {plural(recall.count, 'caption')}, {found(recall, recall.r1)} find their {what} first, and "
                f"{found(recall, recall.r5)} among the first 5."
            )
        )
    else:
        show(found_table(verdict))
    for word, found_word in verdict.words.items():
        show(Text(word_found(word, found_word)))
    note(measured(verdict))
    if details:
        note(costs_measured(verdict))


def word_found(word: str, found: "WordFound") -> str:
    """Returns how many captions with a word of the owner's find what they describe first."""
    own = f"Of {plural(found.captions, 'caption')} with {printable(word)}, "
    if len(found.first) == 1:
        (count,) = found.first.values()
        others = f" Of others, likely {likely(count, found.captions)} do." if found.captions < FEWEST_TO_TELL else ""
        return f"{own}{count:,} find theirs first.{others}"
    counts = [f"{count:,} with {printable(name)}" for name, count in found.first.items()]
    return f"{own}{', '.join(counts[:-1])} and {counts[-1]} find theirs first."


def found(recall: "Recall", share: float) -> str:
    """Returns how many captions a share in percent is."""
    return f"{round(share * recall.count / 100):,}"


def found_table(verdict: "Verdict") -> Table:
    """Returns a table of how many captions find what they describe, with each encoder."""
    table = new_table()
    table.add_column("Captions that find theirs", no_wrap=True)
    for name in ("First", "Among the first 5", "Among the first 10"):
        table.add_column(name, justify="right")
    for name, retrieval in verdict.retrieval.items():
        recall = retrieval.text_to_video
        table.add_row(printable(name), *(found(recall, share) for share in (recall.r1, recall.r5, recall.r10)))
    return table


def measured(verdict: "Verdict") -> str:
    captions, videos = plural(verdict.captions, "caption"), plural(verdict.videos, "video")
    if not verdict.moments:
        return f"{captions}, to be found among {videos}."
    segments = f"{plural(verdict.segments, 'segment')} of {verdict.segment_length:g} s"
    segments += ", overlapping by half," if verdict.overlap else ""
    return f"{captions} of {plural(verdict.moments, 'moment')}, to be found among {segments} in {videos}."


def costs_measured(verdict: "Verdict") -> str:
    return (
        f"Time: to encode a clip, measured afterwards in turn, {plural(verdict.clips_at_a_time, 'clip')} at a time; "
        "decoding is left out. Tokens: what is left of a clip after the last block."
    )


def training_lines(stepped: "Stepped", judged: Sequence["Validated"], width: int) -> RenderableType:
    """Returns a bar of the steps, with the loss, the recall on held-out pairs before and now, and the time left."""
    lines = Table.grid()  # a bar by itself does not end its line
    lines.add_row(ProgressBar(total=stepped.steps, completed=stepped.step, width=min(60, width)))
    lines.add_row(Text(training_facts(stepped, judged), no_wrap=True, overflow="ellipsis"))
    return lines


def training_facts(stepped: "Stepped", judged: Sequence["Validated"]) -> str:
    """Returns the step, the loss, how many held-out captions found their video first before training and do now, and
    the time left, on one line."""
    recalls = [one.retrieval.text_to_video for one in judged]
    firsts = [found(recall, recall.r1) for recall in recalls]
    facts = [
        f"step {stepped.step:,} of {stepped.steps:,}",
        f"loss {stepped.loss:.3f}",
        f"found first: {' → '.join(dict.fromkeys([firsts[0], firsts[-1]]))} of {recalls[0].count:,}" if firsts else "",
        f"{clock(stepped.seconds_left)} left",
    ]
    return "  ".join(filter(None, facts))


def show_before_and_after(training: "FineTuning") -> None:
    """Shows how many of the held-out captions find their video first, before and after training: of all, of those
    without a learned word, and of those with each; then whether each word was learned."""
    assert training.before and training.after
    count = training.before.text_to_video.count
    firsts = [round(one.text_to_video.r1 * count / 100) for one in (training.before, training.after)]
    marks = {word: training.marks[word] for word in training.words if word in training.marks}
    rows = {"all": Firsts(count, *firsts)}
    if training.words:
        rows |= {"without new words": training.rest, **{f"with {printable(word)}": one for word, one in marks.items()}}
    show(
        Text(
            f"{plural(count, 'caption was', 'captions were')} held out from training. How many find their video first "
            f"among {len(training.pool):,}:"
        )
    )
    show(firsts_table({name: one for name, one in rows.items() if one.count}))
    note(
        "Others, likely: the share of other captions that would find theirs after training, as far as so many can tell."
    )
    if not training.is_better:
        note(
            f"{count:,} captions are too few to tell progress from chance: write more, or hold out "
            f"{FEWEST_TO_TELL} or more with --val."
            if count < FEWEST_TO_TELL
            else "The difference between before and after may be chance."
        )
    for word, facts in training.words.items():
        show(Text(word_line(word, facts, marks.get(word), bool(training.nouns.get(word)))))


def firsts_table(rows: Mapping[str, Firsts]) -> Table:
    """Returns a table of how many captions find their video first, before training and after it, and what share of
    other captions would after it, as far as so many can tell."""
    table = new_table()
    table.add_column("Captions", no_wrap=True)
    for name in ("Number", "Before", "After", "Others, likely"):
        table.add_column(name, justify="right")
    for name, one in rows.items():
        table.add_row(name, f"{one.count:,}", f"{one.before:,}", f"{one.after:,}", likely(one.after, one.count))
    return table


def likely(found: int, count: int) -> str:
    """Returns the range that likely holds the true share: a wide one for few captions."""
    low, high = likely_range(found, count)
    return f"{low:.0f} to {high:.0f} %"


def word_line(word: str, facts: Mapping[str, Any], marks: "WordMarks | None", has_noun: bool) -> str:
    """Returns whether a word was learned, by its held-out captions, and what helps if it was not.

    `has_noun`: the user named the noun that it began as."""
    began = f"It began as {printable(str(facts['noun']))}, and trained with {plural(facts['captions'], 'caption')}."
    word = printable(word)
    if not marks or not marks.count:
        return f"No caption with {word} was held out to judge it by. {began} Give it more captions."
    noun = "" if has_noun else f" So does naming its kind: --word {word}=NOUN."
    said = {
        "learned": f"{word} was learned: without the word, its captions place their videos lower. {began}",
        "unknown": f"Nothing tells whether {word} was learned: its captions find their videos without it too. {began}"
        if marks.finds_all
        else f"Too few captions tell whether {word} was learned. {began} More captions with it help.",
        "not learned": f"{word} was not learned. {began} More captions with it help most, then captions of like things "
        f"without it.{noun}",
    }
    return said[marks.verdict]


def verdict_json(verdict: "Verdict") -> Iterator[dict[str, Any]]:
    """Yields a line of `vidfind eval --json` for each encoder."""
    counts = {
        key: value for key, value in vars(verdict).items() if key not in ("retrieval", "costs", "time_error", "words")
    }
    counts["off"] = verdict.time_error
    for name, retrieval in verdict.retrieval.items():
        words = {word: {"captions": one.captions, "first": one.first[name]} for word, one in verdict.words.items()}
        yield {"name": name, **retrieval.as_dict(), **verdict.costs[name].as_dict(), **counts, "words": words}


def recall_table(columns: Mapping[str, "Retrieval"], costs: Mapping[str, "ClipCost"] | None = None) -> Table:
    """Returns a table of recall and ranks in both directions, and of costs; the best of several in a row is bold."""
    gap = 0 if len(columns) >= CROWDED else 1
    table = new_table(gap)
    table.add_column("", no_wrap=True)
    for name in map(printable, columns):
        title = name.replace("-", "-\n") if len(columns) >= MANY else name
        table.add_column(title, justify="right", overflow="fold")
    directions: dict[str, list[Recall]] = {
        "Text to video": [retrieval.text_to_video for retrieval in columns.values()],
        "Video to text": [retrieval.video_to_text for retrieval in columns.values()],
    }
    for direction, recalls in directions.items():
        table.add_row(Text(direction, style="cyan"))
        for name, (value, form, best) in RECALL_ROWS.items():
            table.add_row(f"  {name}", *_numbers([value(recall) for recall in recalls], f"{{:{form}}}".format, best))
    table.add_row("R-Sum", *_numbers([retrieval.r_sum for retrieval in columns.values()], "{:.1f}".format, max))
    if costs:
        table.add_row(Text("A clip costs", style="cyan"))
        for name, (cost_of, shown) in COST_ROWS.items():
            table.add_row(f"  {name}", *_numbers([cost_of(costs[column]) for column in columns], shown, min))
    return table


def _numbers(values: Sequence[float], shown: Callable[[Any], str], best: Callable[..., float]) -> list[Text]:
    """Returns values as they are shown; the best is bold, unless all look the same."""
    texts = [shown(value) for value in values]
    winner = shown(best(values)) if len(set(texts)) > 1 else None
    return [Text(text, style="bold green" if text == winner else "") for text in texts]


def show_trial(trial: "Trial") -> None:
    """Shows how many descriptions of what is there match, and of what is not, and which are on the wrong side."""
    from vidfind.search.moments import NOTHING
    from vidfind.search.trial import WANTED_ABSENT, WANTED_PRESENT, median_match, percent_fitting

    table = new_table()
    for name in ("Descriptions", "Number", "Median match", f"{NOTHING} % or more", "Wanted"):
        table.add_column(name, justify="left" if name in ("Descriptions", "Wanted") else "right", no_wrap=True)
    for is_present, what, wanted in (
        (True, "of what is there", f"at least {WANTED_PRESENT} %"),
        (False, "of what is not", f"at most {WANTED_ABSENT} %"),
    ):
        side = trial.side(is_present)
        lengths = {"1 word": range(2), "2 to 4 words": range(2, 5), "5 words or more": range(5, 100)}
        by_length = {name: [one for one in side if one.words in length] for name, length in lengths.items()}
        for name, tried in {what: side, **by_length}.items():
            if tried:
                numbers = f"{len(tried):,}", f"{median_match(tried):.0f} %", f"{percent_fitting(tried):.0f} %"
                table.add_row(name if tried is side else f"  {name}", *numbers, wanted if tried is side else "")
    show_list(table)
    show(Text(f"What is there matches better than what is not in {trial.told_apart:.0f} % of all pairs."))
    for is_present, heading in (
        (True, f"There, and below {NOTHING} %:"),
        (False, f"Not there, and {NOTHING} % or more:"),
    ):
        if wrong := [one for one in trial.side(is_present) if one.fits != is_present]:
            show(Text(heading, style="bold"))
            for one in sorted(wrong, key=lambda one: one.match, reverse=not is_present):
                show(Text.assemble(f"  {one.match:>3} %  {printable(one.text)}  ", (printable(one.path.name), "dim")))
