"""The checks of `vidfind doctor`: what is examined on this machine and in vidfind's folders, and how it is mended.

Every check is independent: if one fails, for whatever reason, that is reported as a problem, and the others continue.
Examining changes nothing. Checks import heavy libraries themselves, because an import may be what is broken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from vidfind.commands import mend_command
from vidfind.doctor.data import (
    index_folders,
    look_at_adapters,
    look_at_data,
    look_at_defaults,
    look_at_index,
    look_at_pictures,
    look_at_towers,
    mend_index,
)
from vidfind.doctor.findings import Check, Finding, Found, say
from vidfind.doctor.machine import (
    look_at_decoders,
    look_at_device,
    look_at_packages,
    look_at_player,
    look_at_system,
    look_at_video_hardware,
)
from vidfind.doctor.models import look_at_cache, look_at_model, models_in_use
from vidfind.errors import Problem
from vidfind.store.places.path import index_path

T = TypeVar("T")
log = logging.getLogger(__name__)


def examine(check: Check, fix: bool = False) -> Finding:
    """Yields the finding of each check; with `fix`, mends and examines again. Raises only KeyboardInterrupt."""
    found = _look(check)
    mends = [problem.mend for problem in found.problems if problem.mend]
    if not (fix and mends):
        return Finding(check.name, check.subject, found.facts, found.problems)
    try:
        mended = check.mend() if check.mend else [mend() for mend in mends]
    except Exception as error:  # the examination must reach its end, whatever fails
        failure = Problem(f"could not be mended: {say(error)}", f"see to that first, then: {mend_command()}")
        return Finding(check.name, check.subject, found.facts, [*found.problems, failure])
    found = _look(check)
    return Finding(check.name, check.subject, found.facts, found.problems, mended)


def _look(check: Check) -> Found:
    try:
        return check.look()
    except Exception as error:  # as above
        log.debug("%s:", check.name, exc_info=True)
        return Found("", [Problem(f"could not be looked at: {say(error)}", "")])


def all_checks(index: str | None = None, fix: bool = False) -> Iterator[Check]:
    """Returns all checks; with a name, only the index of that name is examined. `fix`: measures again what was kept."""
    yield Check("vidfind", look_at_system)
    yield Check("Packages", look_at_packages)
    yield Check("Device", partial(look_at_device, fix))
    yield Check("Decoders", look_at_decoders)
    yield Check("Hardware", look_at_video_hardware)
    yield Check("Player", look_at_player)
    yield Check("Data", look_at_data)
    paths = [index_path(index)] if index else _listed(index_folders)
    for path in paths:
        yield Check("Index", partial(look_at_index, path), path.name, partial(mend_index, path))
    yield Check("Adapters", look_at_adapters)
    yield Check("Defaults", look_at_defaults)
    yield Check("Pictures", look_at_pictures)
    yield Check("Int8", look_at_towers)
    yield Check("Models", look_at_cache)
    for model in _listed(models_in_use, paths):
        yield Check("Model", partial(look_at_model, *model), " / ".join(model))


def _listed(find: Callable[..., list[T]], *arguments: object) -> list[T]:
    """Returns the results of `find`; none if it fails, because the check of the folder reports why."""
    try:
        return find(*arguments)
    except Exception:
        log.debug("What to look at:", exc_info=True)
        return []
