"""Imports libraries as is quick for a search: lancedb without what nobody here needs, numpy for one core.

What is left out talks to servers and to models, and takes three quarters of the time. Its names stand for the real
ones, which are imported when such a name is used after all.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any

log = logging.getLogger(__name__)

BLAS_THREADS = "OPENBLAS_NUM_THREADS"
COMPILED = "lancedb._lancedb"
"""Cannot be imported twice in one process, and knows nothing of the rest."""
LEFT_OUT = ("lance_namespace_urllib3_client", "lancedb.remote.db", "lancedb.namespace", "lancedb.embeddings")
_importing = threading.Lock()


def import_numpy() -> None:
    """Imports numpy with products of matrices on one core, but where the environment says how many, or it is too late.

    Those of one query are so small that threads cost more than they give: on two cores, one of which is busy, they have
    been seen to wait 8 ms for each other in each product, a second for a query in all."""
    is_free = BLAS_THREADS not in os.environ
    os.environ.setdefault(BLAS_THREADS, "1")
    importlib.import_module("numpy")  # which reads it now, and never again
    if is_free:
        del os.environ[BLAS_THREADS]  # other programs may want more


def import_lancedb() -> Any:
    """The package lancedb, imported the quick way if it was not imported before; the plain way where that fails."""
    with _importing:  # of two threads, the second would get a package half imported
        return sys.modules.get("lancedb") or _import_slim() or importlib.import_module("lancedb")


def _import_slim() -> Any | None:
    """The package lancedb without what is left out; None, and no trace of it, where that fails."""
    before = set(sys.modules)
    try:
        with _left_out():
            return importlib.import_module("lancedb")
    except Exception as error:  # another version of lancedb may use what is left out at once, in any way
        log.info("lancedb has to be imported as a whole: %s: %s", type(error).__name__, error)
    for name in sys.modules.keys() - before:
        if name.partition(".")[0] == "lancedb" and not name.startswith(COMPILED):
            del sys.modules[name]
    return None


class _Later:
    """A name of a module that is not imported yet: called, or asked for anything, it is the real thing."""

    def __init__(self, module: str, name: str) -> None:
        self._of = module, name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._real()(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # as what looks at annotations asks
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def _real(self) -> Any:
        module, name = self._of
        return getattr(importlib.import_module(module), name)


class _Module(types.ModuleType):
    """A module of which every name is there, later."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, name)


class _Finder:
    """Finds the modules left out, and makes them up."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        is_left_out = any(name == left or name.startswith(f"{left}.") for left in LEFT_OUT)
        return ModuleSpec(name, self, is_package=True) if is_left_out else None  # type: ignore[arg-type]  # quacks like one

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing in it."""


@contextmanager
def _left_out() -> Iterator[None]:
    """Modules left out are made up meanwhile, if they were not imported before; afterwards no trace is left of them."""
    finder, before = _Finder(), set(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in sys.modules.keys() - before:
            if isinstance(module := sys.modules[name], _Module):
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                if vars(sys.modules.get(parent, module)).get(child) is module:
                    delattr(sys.modules[parent], child)
