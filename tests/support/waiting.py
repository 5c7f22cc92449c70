"""Waiting for what another thread or process does: as long as it takes, up to a limit that no busy machine reaches."""

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds."""


def wait_until(condition: Callable[[], object]) -> None:
    """Returns as soon as `condition` holds. Raises TimeoutError after PATIENCE."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"nothing came of it in {PATIENCE:.0f} seconds")
        time.sleep(0.01)
