"""Shows models, encoders and adapters, and the cost of encoding an index again."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vidfind.commands import finetune_command, forget_command
from vidfind.display.console import facts, is_screen, message, new_table, note, results, show, show_list
from vidfind.display.text import file_size, footage, gflops, home_path, milliseconds, plural, printable
from vidfind.models.catalog import DEFAULT_MODEL, default_encoder
from vidfind.system.times import clock

if TYPE_CHECKING:
    from vidfind.bench.encoders import Comparison
    from vidfind.bench.models import Speed
    from vidfind.encoders.costs import ClipCost
    from vidfind.index.events import Cost, Reencoding, Switched, Waiting
    from vidfind.models.catalog import ModelEntry
    from vidfind.models.saved_adapters import SavedAdapter

CHANGES = {"lora": "words, pictures", "text": "words", "full": "whole model", "frozen": "adds to it"}
"""The part of the model that each kind of adapter changes, in a table."""
KINDS = {
    "lora": "LoRA on video and text",
    "text": "LoRA on text alone: leaves video vectors as they are",
    "full": "all",
    "frozen": "prompts and a projection beside the model, which stays as it is",
}
DIRECTIONS = {"text_to_video": "Text to video", "video_to_text": "Video to text"}


def show_adapters(saved: Sequence["SavedAdapter"]) -> None:
    """Shows how each adapter was trained, its recall before and after, its date and size; then problems of files."""
    table = new_table()
    table.add_column("Adapter", style="cyan", no_wrap=True)
    table.add_column("Model", overflow="fold")
    table.add_column("Encoder", overflow="fold")
    table.add_column("Changes", overflow="fold")
    table.add_column("First hit right", justify="right", overflow="fold")
    table.add_column("Made", no_wrap=True)
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("New indexes", no_wrap=True)
    for adapter in saved:
        values: list[str | Text] = [Text("cannot be read", style="yellow"), "", "", "", ""]
        if info := adapter.info:
            trained = [f"{info.model} / {info.pretrained}", info.encoder, CHANGES.get(info.kind, info.kind)]
            values = [*trained, _gain(info.metrics), info.created[:10]]
        default = Text("use it", style="green") if adapter.is_default else ""
        texts = [printable(fact) if isinstance(fact, str) else fact for fact in values]
        table.add_row(printable(adapter.name), *texts, file_size(adapter.size_bytes), default)
    show_list(table)
    for adapter in saved:
        if adapter.problem:
            message(adapter.problem)


def show_adapter(adapter: "SavedAdapter", used_by: Sequence[str]) -> None:
    """Shows the header of an adapter, and the indexes that use it."""
    rows = {"Adapter": f"{adapter.name}, in {home_path(adapter.path)}"}
    if info := adapter.info:
        rank = f", rank {info.rank}" if info.rank else ""
        rows |= {
            "Model": f"{info.model} / {info.pretrained}",
            "Encoder": f"{info.encoder}, {info.num_frames} frames",
            "Trained": f"{KINDS.get(info.kind, info.kind)}{rank}",
            "Captions": plural(info.num_pairs, "pair") if info.num_pairs else "unknown",
            "Made": f"{info.created or 'unknown'}, with vidfind {info.version}",
        }
    if info and info.words:
        rows |= {f"Word {word}": word_facts(facts) for word, facts in info.words.items()}
    rows["Size"] = file_size(adapter.size_bytes)
    rows["Default"] = "yes: new indexes of its model use it" if adapter.is_default else "no"
    rows["Indexes"] = ", ".join(used_by) or "none"
    show(facts(rows.items()))
    if adapter.info and (recall := _recall_table(adapter.info.metrics)):
        show(recall)
    if adapter.problem:
        message(adapter.problem)


VERDICTS = {"learned": "learned", "not learned": "not learned", "unknown": "that does not tell"}


def word_facts(facts: Mapping[str, Any]) -> str:
    """Returns what a learned word began as, and how its held-out captions do."""
    said = f"began as {facts.get('noun', '?')}; {plural(facts.get('captions', 0), 'caption')}"
    if held_out := facts.get("held_out"):
        found = f"of {held_out} held out, {facts.get('before')} were found first before and {facts.get('after')} after"
        said += f"; {found}: {VERDICTS.get(facts.get('verdict', ''), '?')}"
    return said


def show_defaults(defaults: Mapping[str, str]) -> None:
    """Shows which adapter new indexes of each model use."""
    for model, name in sorted(defaults.items()):
        show(Text(f"New indexes of {printable(model)} use {printable(name)}."))
    if not defaults:
        show(Text("New indexes use no adapter."))


def adapter_json(adapter: "SavedAdapter") -> dict[str, Any]:
    """Returns everything known of an adapter; `problem` says why its header cannot be read."""
    own = {
        "name": adapter.name,
        "path": adapter.path,
        "size": adapter.size_bytes,
        "default": adapter.is_default,
        "problem": adapter.problem or None,
    }
    return {**(dataclasses.asdict(adapter.info) if adapter.info else {}), **own}


def _gain(metrics: Mapping[str, Any]) -> str:
    """Returns the share of held-out captions that found their video first, before and after; empty if not measured."""
    values = [_measure(metrics, when, "text_to_video", "r1") for when in ("before", "after")]
    count = metrics.get("pairs")
    shares = " → ".join(f"{value:.0f} %" for value in values if value is not None)
    return f"{shares} (of {count:,})" if shares and isinstance(count, int) else shares


def _measure(metrics: Mapping[str, Any], when: str, direction: str, name: str) -> float | None:
    try:
        return float(metrics[when][direction][name])
    except (KeyError, TypeError, ValueError):
        return None  # an imported adapter, or one of another version


def _recall_table(metrics: Mapping[str, Any]) -> Table | None:
    """Returns the recall on held-out captions before and after training, as a table."""
    names = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median": "Median rank", "mean": "Mean rank"}
    count = metrics.get("pairs")
    heading = f"Kept aside: {plural(count, 'pair')}" if isinstance(count, int) else "Kept aside"
    table = new_table()
    table.add_column(heading, no_wrap=True)
    for name in names.values():
        table.add_column(name, justify="right")
    for direction, label in DIRECTIONS.items():
        for when in ("before", "after"):
            values = [_measure(metrics, when, direction, name) for name in names]
            if any(value is not None for value in values):
                table.add_row(f"{label}, {when}", *("" if value is None else f"{value:.1f}" for value in values))
    return table if table.row_count else None


# Encoding again


def cost_text(cost: "Cost") -> str:
    """Returns videos, footage, and the time if known: `24 videos (1.7 minutes of footage, about 0:05)`."""
    about = f", about {clock(max(1, round(cost.elapsed)))} here" if cost.elapsed is not None else ""
    return f"{plural(cost.videos, 'video')} ({footage(cost.footage)} of footage{about})"


def reencoding_text(event: "Reencoding") -> str:
    return f"Encoding {cost_text(event.cost)} again {_with(event.adapter)}; the old vectors answer until it is done."


def switched_text(event: "Switched", index: str) -> str:
    return f"Searches of the index {index!r} use the new vectors now, made {_with(event.adapter)}."


def show_waiting(event: "Waiting") -> None:
    """Returns the message that searches do not use the new vectors yet, what is missing, and what to do."""
    for away in event.offline:
        message(f"{away.folder} is not there now: its {plural(away.videos, 'video')} could not be encoded again.")
    message(
        f"So searches go on with the old vectors. Connect what is missing, or forget it with `{forget_command()}`, "
        f"then: {event.command}"
    )


def _with(adapter: str | None) -> str:
    return f"with the adapter {adapter}" if adapter else "without an adapter"


def speed_text(entry: "ModelEntry", speed: "Speed") -> str:
    """Returns how fast a model was measured to be: `PE-Core-B-16: 0.23x, 2,610 ms a clip with --encoder mean`."""
    encoder = default_encoder(entry.model)
    return f"{entry.model}: {_speed(speed)}, {milliseconds(speed.seconds)} ms a clip with --encoder {encoder}"


def show_models(models: Sequence["ModelEntry"], speeds: Mapping[str, "Speed"]) -> None:
    """Shows the recommended models: what each takes, and what each is for, below or in a pipe as the last column.

    `speeds`: by the name of the model; empty if they were not measured."""
    is_piped = not is_screen(results)
    table = new_table()
    table.add_column("Model", style="cyan", no_wrap=True)
    table.add_column("Weights", overflow="fold")
    for name in ("Size", "Vector"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Licence", no_wrap=True)
    table.add_column("Here", no_wrap=True)
    if speeds:
        table.add_column("Speed", justify="right", no_wrap=True)
    if is_piped:
        table.add_column("Note")
    for entry in models:
        here = Text("yes", style="green") if entry.path else Text("no", style="dim")
        values: list[str | Text] = [file_size(entry.size_bytes), str(entry.dim), entry.licence, here]
        if speeds:
            values.append(_speed(speeds.get(entry.model)))
        table.add_row(entry.model, entry.pretrained, *values, *([_purpose(entry)] if is_piped else []))
    show_list(table)
    if is_piped:
        return
    results.print()
    show(facts([(entry.model, _purpose(entry)) for entry in models], style="cyan"))
    results.print()
    note(
        "Quality: how often a text finds its video (MSR-VTT) or picture (COCO) first, without training, as published. "
        "Vector: its length; an index grows with it. Any other model of open_clip works with --model too."
        + (
            f" Speed: clips a second, as a multiple of {DEFAULT_MODEL}, each with its default encoder."
            if speeds
            else ""
        )
    )


def _purpose(entry: "ModelEntry") -> str:
    parts = [entry.note, f"language: {entry.languages}", f"--encoder {default_encoder(entry.model)} by default"]
    if entry.quality:
        parts.append(f"{entry.quality} ({entry.source})")
    return "; ".join(parts)


def _speed(speed: "Speed | None") -> str:
    return f"{speed.ratio:#.2g}".rstrip(".") + "x" if speed else "-"


def model_json(entry: "ModelEntry", speed: "Speed | None" = None) -> dict[str, Any]:
    """Returns a line of `vidfind models --json`; `size` in bytes, `path` of the weights if they are on this machine.

    `speed` and `ms`, of a clip, only where they were measured."""
    values = {
        "model": entry.model,
        "pretrained": entry.pretrained,
        "size": entry.size_bytes,
        "licence": entry.licence,
        "dim": entry.dim,
        "languages": entry.languages,
        "encoder": default_encoder(entry.model),
        "quality": entry.quality or None,
        "source": entry.source or None,
        "note": entry.note,
        "path": entry.path,
    }
    return values | ({"speed": speed.ratio, "ms": 1000 * speed.seconds} if speed else {})


BASELINE = "mean"


def show_comparison(comparison: "Comparison") -> None:
    """Shows a table of figures, then what each encoder does, and how it was measured."""
    show(figures_table(comparison))
    results.print()
    show(notes_table(comparison))
    results.print()
    note(measured(comparison))


def figures_table(comparison: "Comparison") -> Table:
    """Returns tokens and GFLOPs, each also as a change from plain CLIP; trained parameters and time."""
    table = new_table()
    table.add_column("Encoder", no_wrap=True)
    for name in ("Tokens", "", "GFLOPs", "", "Trained", "ms a clip"):
        table.add_column(name, justify="right", no_wrap=True, style="" if name else "dim")
    base = next((encoder.cost for encoder in comparison.encoders if encoder.name == BASELINE), None)
    for encoder in comparison.encoders:
        style = "bold green" if encoder.is_default else "cyan"
        trained = f"{encoder.trained:,}" if encoder.trained is not None else "-"
        table.add_row(Text(encoder.name, style=style), *_work(encoder.cost, base), trained, _time(encoder.cost))
    return table


def _work(cost: "ClipCost | None", base: "ClipCost | None") -> list[str]:
    if cost is None:
        return ["-", "", "-", ""]
    assert base  # what any encoder can do, plain CLIP can
    return [
        f"{cost.tokens:,}" if cost.tokens else "-",
        change(cost.tokens, base.tokens),
        gflops(cost.flops),
        change(cost.flops, base.flops),
    ]


def change(value: float, base: float) -> str:
    """Returns the change from `base` in percent; empty if there is none.

    >>> change(97, 600), change(606, 600), change(600, 600)
    ('-84 %', '+1 %', '')
    """
    return "" if value == base else f"{100 * (value / base - 1):+.0f} %"


def _time(cost: "ClipCost | None") -> str:
    return milliseconds(cost.seconds) if cost else "-"


def notes_table(comparison: "Comparison") -> Table:
    """Returns a table of what each encoder does, what it needs, and why it cannot be used."""
    rows: list[tuple[str | Text, str | Text]] = []
    for encoder in comparison.encoders:
        text = Text(printable(encoder.note))
        if encoder.is_default:
            text.append("; the default", "green")
        if encoder.needs_adapter and not encoder.problem:
            text.append(f". Needs an adapter: {finetune_command(encoder=encoder.name)}")
        if encoder.problem:
            text.append(f" ({printable(encoder.problem)})", "yellow")
        rows.append((encoder.name, text))
    return facts(rows, style="cyan")


def measured(comparison: "Comparison") -> str:
    weights = "the weights in the package" if comparison.model == "tiny" else "random weights, as fast as real ones"
    return (
        f"{comparison.model} with {weights}; clips of {plural(comparison.num_frames, 'frame')}, "
        f"{plural(comparison.clips_at_a_time, 'clip')} at a time on {comparison.device} in {comparison.dtype}. "
        "Tokens: what is left of a clip after the last block. GFLOPs: matrix products and attention of a clip, two "
        "operations for each multiply-add. Trained: the numbers that fine-tuning learns."
    )


def comparison_json(comparison: "Comparison") -> Iterator[dict[str, Any]]:
    """Yields a line of `vidfind encoders --json` for each encoder."""
    facts = {key: value for key, value in vars(comparison).items() if key != "encoders"}
    for encoder in comparison.encoders:
        values = {key: value for key, value in vars(encoder).items() if key != "cost"}
        yield {**values, **(encoder.cost.as_dict() if encoder.cost else {}), **facts}
