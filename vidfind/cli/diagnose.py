"""`vidfind doctor` and `vidfind bench`: checks and measures this machine."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vidfind.bench import GROUPS, SEGMENTS, VIDEOS
from vidfind.cli.shared import completion
from vidfind.cli.shared.options import Device, Json, Quiet, Threads, Verbose, model_option, pretrained_option
from vidfind.errors import ExitCode
from vidfind.models.catalog import DEFAULT_MODEL
from vidfind.system import paths


def bench_command(
    only: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"Measure only some of {','.join(GROUPS)}. [default: all]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Measure less, in a few minutes.")] = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Also index as most scripts do, one frame per second, and compare.")
    ] = False,
    videos: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help=f"Decode and index only some of {','.join(VIDEOS)}: 1080p H.264 as of phones, with few keyframes, "
            "and 4K HEVC. [default: all; with --quick, phone]",
        ),
    ] = None,
    segments: Annotated[
        int, typer.Option(metavar="COUNT", min=10, max=10_000_000, help="Number of segments to search.")
    ] = SEGMENTS,
    model: Annotated[str, model_option()] = DEFAULT_MODEL,
    pretrained: Annotated[str | None, pretrained_option("random ones, which are as fast")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with FILE, the output of an earlier run with --json.")
    ] = None,
    threads: Threads = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure the speed of this machine.

    It decodes, encodes, indexes and searches videos that are drawn for the measurement. This takes ten minutes or
    more on two cores, and two more the first time. Your data is not read or changed. Do not use the machine
    meanwhile. Ctrl-C shows the figures measured so far.

    \b
    Example:
      vidfind bench --json > before.json
      vidfind bench --compare before.json
    """
    names = _listed("--only", only, GROUPS) or list(GROUPS)
    kinds = _listed("--videos", videos, VIDEOS)

    from vidfind.bench.earlier import check_comparable, read_earlier, row_json
    from vidfind.bench.measure import Row, describe, footage_kept, measure, setup
    from vidfind.display import console
    from vidfind.display.activity import Activity
    from vidfind.display.diagnose import show_caveats, show_facts, show_kept, show_rows

    earlier = read_earlier(compare) if compare else None
    rows: list[Row] = []
    was_stopped = False
    with (
        tempfile.TemporaryDirectory(prefix="vidfind-bench-", ignore_cleanup_errors=True) as folder,
        Activity("Preparing the measurement", enabled=not (as_json and sys.stdout.isatty())) as activity,
    ):
        bench = setup(
            Path(folder),
            model,
            pretrained,
            activity.announce,
            device=device,
            quick=quick,
            recipe=recipe,
            videos=kinds,
            say=activity.say,
            segments=segments,
            **({"threads": threads} if threads else {}),
        )
        if earlier:
            check_comparable(earlier, bench)
        try:
            for row in measure(bench, names):
                rows.append(row)
                if as_json:
                    console.json_line(row_json(row, earlier))
            activity.say("Looking at the machine")
            facts = describe(bench)
        except KeyboardInterrupt:
            was_stopped = True
            activity.announce("Stopped. This is what is known by now.")
    if not as_json:
        show_rows(rows, earlier)
    show_kept(paths.footage_path(), footage_kept())
    if was_stopped:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if as_json:
        console.json_line({"bench": facts})
    else:
        show_facts(facts)
    if earlier:
        show_caveats(rows, earlier, facts)


def _listed(option: str, text: str | None, known: Sequence[str]) -> list[str]:
    """Returns the names in a list with commas, each once; none without a list. Raises BadParameter."""
    names = list(dict.fromkeys(filter(None, map(str.strip, (text or "").split(",")))))
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"There is no {unknown[0]!r} to measure: {', '.join(known)}.", param_hint=option)
    if text is not None and not names:
        raise typer.BadParameter(f"Name some of {', '.join(known)}.", param_hint=option)
    return names


def doctor_command(
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be repaired; nothing that you made is deleted.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="NAME|URL",
            help="Check only this index.",
            autocompletion=completion.index_names,
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check this machine, the indexes, adapters and models. Paste the output into bug reports; --fix repairs problems.

    Nothing is changed without --fix, and nothing is sent anywhere. The exit code is 1 if problems remain.

    \b
    Example:
      vidfind doctor --fix
    """
    from vidfind.display import console
    from vidfind.display.diagnose import finding_json, show_finding, show_verdict, summary_json
    from vidfind.doctor.checks import all_checks, examine

    findings = []
    for check in all_checks(name, fix):
        findings.append(examine(check, fix))
        if as_json:
            console.json_line(finding_json(findings[-1]))
        else:
            show_finding(findings[-1])
    if as_json:
        console.json_line(summary_json(findings))
    else:
        show_verdict(findings, fix)
    if any(finding.problems for finding in findings):
        raise typer.Exit(ExitCode.ERROR)
