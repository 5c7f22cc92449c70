"""Imports lancedb without what of it talks to servers: two thirds of the time that takes, and nobody here needs it.

Names of the modules left out stand for the real ones, which are imported when such a name is used after all.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any

LEFT_OUT = ("lance_namespace_urllib3_client", "lancedb.remote.db", "lancedb.namespace")


def import_lancedb() -> Any:
    """The package lancedb, imported the quick way if it was not imported before."""
    if "lancedb" in sys.modules:
        return sys.modules["lancedb"]
    with _left_out():
        return importlib.import_module("lancedb")


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
