"""Makes every Python that has this folder in its PYTHONPATH take its CPU for one that multiplies bfloat16 matrices."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Pretence(MetaPathFinder):
    """Finds `torch.cpu`, and changes what it says of the CPU once it has been imported; torch itself stays lazy."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name != "torch.cpu":
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            vars(module)["_is_avx512_bf16_supported"] = lambda: True

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Pretence())
