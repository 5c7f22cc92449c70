"""open_clip, imported without what of it vidfind has no use for: a quarter of the time, and 170 MB less.

It comes with every image tower of timm, and torchvision with the whole compiler of PyTorch, for one function.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)

COMPILER = "torch._dynamo"


def import_open_clip() -> Any:
    """The package open_clip. Its models with a tower of timm cannot be made, which vidfind does not run either."""
    if "open_clip" in sys.modules:
        return sys.modules["open_clip"]
    before = set(sys.modules)
    try:
        with _stand_ins():
            return importlib.import_module("open_clip")
    except Exception as error:  # another version of some library, that needs more
        log.info("open_clip is imported as a whole: %s", error)
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] in ("open_clip", "torchvision", "timm"):
                del sys.modules[name]
        return importlib.import_module("open_clip")


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Meanwhile there is no timm, which open_clip can do without, and the compiler is what torchvision needs of it."""
    utils, compiler = ModuleType(f"{COMPILER}.utils"), ModuleType(COMPILER)
    utils.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    compiler.utils = utils  # type: ignore[attr-defined]
    modules: dict[str, Any] = {"timm": None, COMPILER: compiler, utils.__name__: utils}  # None: "not there"
    stand_ins = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
