"""A Ray cluster of three nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nodes import Nodes, starting


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes of one core, called a, b and c, started once for a module: that takes seconds, and their processes
    take a tenth of a core for as long as they are there."""
    with starting(["a", "b", "c"], tmp_path_factory.mktemp("cluster")) as started:
        yield started
