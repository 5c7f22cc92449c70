"""Makes every Python that has this folder in its PYTHONPATH take its CPU for one that multiplies bfloat16 matrices."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder


class Pretence(MetaPathFinder):
    """Finds `torch.cpu`, and changes what it says of the CPU once it has been imported; torch itself stays lazy."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != "torch.cpu":
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec and spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: object) -> None:
            execute(module)
            module._is_avx512_bf16_supported = lambda: True

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Pretence())
