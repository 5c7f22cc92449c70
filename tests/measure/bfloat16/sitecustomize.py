"""Makes every Python that has this folder in its PYTHONPATH take bfloat16 for the fastest format of its CPU."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

FORMATS = "vidfind.precision.formats"


class Pretence(MetaPathFinder):
    """Finds the module of number formats, and changes what it has measured once it has been imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name != FORMATS:
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            speeds = vars(module)["Speeds"]({"float32": 1.0, "bfloat16": 2.0}, 0)
            vars(module).update(NARROW=0, measured_speeds=lambda: speeds)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Pretence())
