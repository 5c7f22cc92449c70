"""`vidfind doctor`: what is wrong, and mending it. Parse, call, hand the result to display.

Registered by cli.py, and written like it: nothing heavy is imported at the top.
"""

from typing import Annotated

import typer

from vidfind.cli.options import Json, Verbose


def doctor_command(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended; nothing that you made is deleted.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--index", metavar="NAME", help="Of the indexes, look at this one alone.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check this machine, the indexes, adapters and models; print what a bug report needs, and mend with --fix.

    Nothing is changed without --fix, and nothing is sent anywhere. Ends with 1 when problems remain.

    \b
    Example:
      vidfind doctor --fix
    """
    from vidfind.display import console as display
    from vidfind.display import doctor as display_upkeep
    from vidfind.doctor.checks import all_checks, examine

    findings = []
    for check in all_checks(name):
        findings.append(examine(check, fix))
        if as_json:
            display.json_line(display_upkeep.finding_json(findings[-1]))
        else:
            display_upkeep.show_finding(findings[-1])
    if as_json:
        display.json_line(display_upkeep.summary_json(findings))
    else:
        display_upkeep.show_verdict(findings, fix)
    if any(finding.problems for finding in findings):
        raise typer.Exit(1)
