"""Quick and safe imports of libraries: every trick that vidfind plays on the import system.

| Trick | Needed by | Without it | When the library changes |
|---|---|---|---|
| `import_numpy` | numpy 2 with OpenBLAS | a query may take a second on a busy machine | the variable has no effect |
| `import_lancedb` | lancedb 0.34 to 0.40 | its import takes 2.5 times as long | it is imported as it comes |
| `import_lancedb_half` | lancedb 0.40 | a search takes a third of a second longer | the whole is imported |
| `quicken_torch` | PyTorch 2.15 | its import takes half as long again | it is imported as it comes |
| `import_open_clip` | open_clip 3.2 to 3.3, timm 1.0, torchvision 0.23 to 0.29 | 3 times, and 170 MB | likewise |
| `import_timm` | timm 1.0 | 3 times, and 170 MB, for models with a tower of timm | likewise |
| `without_nvidia` | decord2 3.3 to 3.4 | matrix products may end the process | PyAV reads, if decord needs nvidia |

So with a version that takes none of these tricks, vidfind works, only slower. Knows nothing of what the libraries are
used for.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from vidfind.errors import BrokenInstallation

log = logging.getLogger(__name__)

AGAIN = "Install vidfind again, with PyTorch and torchvision of one kind: both for CUDA, or both without."
_importing = threading.RLock()


def _import_quickly(name: str, trick: AbstractContextManager[None], packages: Sequence[str]) -> Any:
    """The package `name`, imported within `trick` if it was not imported before.

    Where that fails, as with another version of the library, the modules of `packages` that it left are dropped, and
    the package is imported as it comes. Raises BrokenInstallation where that fails too."""
    with _importing:  # of two threads, the second would get a package half imported
        if name in sys.modules:
            return sys.modules[name]
        before = set(sys.modules)
        try:
            with trick:
                return importlib.import_module(name)
        except Exception as error:  # whatever another version trips over
            log.info("%s is imported as a whole: %s: %s", name, type(error).__name__, error)
        for module in sys.modules.keys() - before:
            if module.partition(".")[0] in packages and not module.startswith(COMPILED):
                del sys.modules[module]
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise BrokenInstallation(f"{name} cannot be imported: {error}. {AGAIN}") from error


@contextmanager
def _replaced(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Meanwhile `import` finds these modules, or for None no module, by these names; afterwards the real ones again."""
    real = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)  # type: ignore[arg-type]  # None is what the import system takes for "not there"
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(real)


# numpy ---------------------------------------------------------------------------------------------------------------

BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def import_numpy() -> None:
    """Imports numpy with matrix products on one core, unless the environment says how many, or numpy is there already.

    The products of one query are so small that threads cost more than they give: on two cores, one of which was busy,
    they waited 8 ms for each other in each product, which made a second for a query."""
    is_free = BLAS_THREADS not in os.environ
    os.environ.setdefault(BLAS_THREADS, "1")
    importlib.import_module("numpy")  # which reads it now, and never again
    if is_free:
        del os.environ[BLAS_THREADS]  # other programs may want more


# torch ---------------------------------------------------------------------------------------------------------------

QUICK_TORCH = "2.15."
"""The beginning of the versions of PyTorch that are known to compute without the modules that are left out."""
META = "torch._meta_registrations"
"""Tells the compiler, and tensors on the device "meta", the shapes of results: a third of the import, and of no use to
what only computes."""
WANT_META = ("torch._decomp", "torch._refs", "torch._prims")
"""Modules that import META and must be imported after it: the compiler and counters of operations begin with one."""


def quicken_torch() -> None:
    """From now on, the first `import torch` of this process leaves out META, and bindings for CUDA's compiler.

    They are imported when anything needs them after all; but who puts tensors on the device "meta" imports META first.
    Does nothing for versions that are not known. Only for a program of our own: others may do more with PyTorch."""
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _TorchFinder())


class _TorchFinder:
    """Finds torch, once, and has it imported without what `quicken_torch` leaves out."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or not _is_quick(Path(*(spec.submodule_search_locations or ()))):
            return spec
        execute = spec.loader.exec_module

        def execute_quickly(module: ModuleType) -> None:
            with _replaced({META: ModuleType(META), "cuda.bindings": None}):
                execute(module)
            vars(module).pop(META.rpartition(".")[2], None)
            base = importlib.import_module("torch._custom_class_base")
            module._C._set_generator_metaclass(base.CustomClassBaseMeta)  # else META does: random numbers want it
            sys.meta_path.insert(0, _MetaFinder())

        spec.loader.exec_module = execute_quickly  # type: ignore[method-assign]
        return spec


def _is_quick(folder: Path) -> bool:
    """Whether the torch in a folder is of a version that is known."""
    version = folder / "version.py"
    return version.is_file() and f"__version__ = '{QUICK_TORCH}" in version.read_text(encoding="utf-8")


class _MetaFinder:
    """Imports META before the first of the modules that want it."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name not in (*WANT_META, META):
            return None
        sys.meta_path.remove(self)
        if name != META:
            importlib.import_module(META)
        if name not in sys.modules:
            return None
        self._module = sys.modules[name]  # imported just now: it is not to be executed once more
        self._spec, self._module.__spec__ = self._module.__spec__, ModuleSpec(name, self)  # type: ignore[arg-type]
        return self._module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


# decord --------------------------------------------------------------------------------------------------------------


def without_nvidia() -> AbstractContextManager[None]:
    """Meanwhile the package nvidia cannot be found: `import decord` belongs inside.

    decord2 loads every CUDA library that lies in that package, for all of the process to use, and needs none of them.
    One, libnvblas, takes over the matrix products of the CPU and ends the process."""
    return _replaced({"nvidia": None})


# open_clip -----------------------------------------------------------------------------------------------------------

COMPILER = "torch._dynamo"


def import_open_clip(timm_tower: str = "") -> Any:
    """The package open_clip, in a quarter of the time and with 170 MB less.

    By itself it imports every image tower of timm and, since torchvision wants one function of it, PyTorch's compiler.
    `timm_tower`: the name in timm of an image tower that is to be made; without it, no tower of timm can be made."""
    utils, compiler = ModuleType(f"{COMPILER}.utils"), ModuleType(COMPILER)
    utils.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    compiler.utils = utils  # type: ignore[attr-defined]
    stand_ins = {"timm": None, COMPILER: compiler, utils.__name__: utils}
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    open_clip = _import_quickly("open_clip", _replaced(missing), ["open_clip", "torchvision", "timm"])
    if timm_tower:
        timm, names = import_timm(timm_tower), vars(sys.modules["open_clip.timm_model"])
        if names["timm"] is None:
            layers = importlib.import_module("timm.layers")
            names |= {name: getattr(layers, of_timm) for name, of_timm in LAYERS_OF_TIMM.items()} | {"timm": timm}
    return open_clip


# timm ----------------------------------------------------------------------------------------------------------------

LAYERS_OF_TIMM = {
    "AbsAttentionPool2d": "AttentionPool2d",
    "RotAttentionPool2d": "RotAttentionPool2d",
    "Mlp": "Mlp",
    "to_2tuple": "to_2tuple",
}
"""What `open_clip.timm_model` imports of `timm.layers`, by the names that it has there."""
TIMM_PACKAGES = ("timm", "timm.models", "timm.data")


def import_timm(tower: str) -> Any:
    """The package timm, able to make an image tower of this name, in a third of the time and with 170 MB less.

    By itself it imports all of its 90 kinds of towers. Here it imports the kind wanted; the rest follows when anyone
    asks for a name of it. Raises BrokenInstallation."""
    with _importing:
        before = set(sys.modules)
        try:
            if "timm" not in sys.modules:
                _begin_timm()
            if isinstance(sys.modules["timm"], _Package):
                importlib.import_module(_module_of_tower(tower))
            return sys.modules["timm"]
        except Exception as error:  # whatever another version trips over
            log.info("timm is imported as a whole: %s: %s", type(error).__name__, error)
        for module in [name for name in sys.modules.keys() - before if name.partition(".")[0] == "timm"]:
            del sys.modules[module]
        try:
            timm = importlib.import_module("timm")
            timm.create_model  # noqa: B018  # which imports the whole where it was only begun
            return timm
        except Exception as error:
            raise BrokenInstallation(f"timm cannot be imported: {error}. {AGAIN}") from error


def _begin_timm() -> None:
    for name in TIMM_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ImportError(f"there is no {name}")
        package = _Package(name)
        package.__spec__, package.__path__ = spec, spec.submodule_search_locations or []
        package.__file__, package.__package__ = spec.origin, name
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)
    timm, _, data = (vars(sys.modules[name]) for name in TIMM_PACKAGES)
    timm["__version__"] = importlib.import_module("timm.version").__version__
    constants = vars(importlib.import_module("timm.data.constants"))
    data |= {name: value for name, value in constants.items() if name.isupper()}
    timm["create_model"] = importlib.import_module("timm.models._factory").create_model


def _module_of_tower(tower: str) -> str:
    """The module of timm that makes a tower; its files say so themselves."""
    [folder] = sys.modules["timm.models"].__path__
    made_by = f"def {tower}(".encode()
    file = next((file for file in sorted(Path(folder).glob("*.py")) if made_by in file.read_bytes()), None)
    if file is None:
        raise ImportError(f"no module of timm makes {tower}")
    return f"timm.models.{file.stem}"


class _Package(ModuleType):
    """A package whose modules can be imported, and which itself is imported when a name is missing in it."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if name.startswith("__") or spec is None or spec.loader is None:
            raise AttributeError(name)
        with _importing:
            if isinstance(self, _Package):  # else another thread did it meanwhile
                self.__class__ = ModuleType  # type: ignore[assignment]
                try:
                    spec.loader.exec_module(self)
                except BaseException:
                    self.__class__ = _Package
                    raise
        return getattr(self, name)


# lancedb -------------------------------------------------------------------------------------------------------------

COMPILED = "lancedb._lancedb"
"""Cannot be imported twice in one process, and uses nothing of the rest."""
LOOP = "lancedb.background_loop"
LEFT_OUT = ("lance_namespace_urllib3_client", "lancedb.remote.db", "lancedb.namespace", "lancedb.embeddings")
"""Modules that talk to servers and to models."""


def import_lancedb() -> Any:
    """The package lancedb without the modules in LEFT_OUT, which take most of the time.

    Their names in lancedb stand for the real ones, which are imported when such a name is used after all."""
    return _import_quickly("lancedb", _left_out(), ["lancedb"])


def import_lancedb_after_torch() -> None:
    """Imports lancedb in a thread as soon as torch is imported: while weights are read, Python has nothing to do.

    Does nothing if this process ends before that. What goes wrong is raised where lancedb is used."""

    def wait() -> None:
        while "torch" not in sys.modules or getattr(sys.modules["torch"].__spec__, "_initializing", False):
            if not threading.main_thread().is_alive():
                return
            time.sleep(0.02)
        with suppress(BrokenInstallation):
            import_lancedb()

    threading.Thread(target=wait, name="lancedb").start()  # no daemon: it must not be killed within an import


READABLE = "0.40."
"""The beginning of the versions whose compiled half is known to read as the package does."""


def import_lancedb_half() -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """The compiled half of lancedb, which takes a hundredth of the time of the rest: enough to read tables with.

    Returns its `connect`, and a function that runs a coroutine in the loop in which the rest of lancedb runs its own.
    Raises ImportError for a version that is not known, and whatever else another version trips over."""
    with _importing:
        spec = importlib.util.find_spec("lancedb")
        folder = Path(*(spec.submodule_search_locations or ()) if spec else ())
        if not any(folder.parent.glob(f"lancedb-{READABLE}*.dist-info")):
            raise ImportError(f"lancedb is not of version {READABLE}*")
        package = ModuleType("lancedb")
        package.__path__ = [str(folder)]
        with _replaced({} if "lancedb" in sys.modules else {"lancedb": package}):
            compiled, loop = map(importlib.import_module, (COMPILED, LOOP))
        return compiled.connect, loop.LOOP.run


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

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._real())

    def _real(self) -> Any:
        module, name = self._of
        return getattr(importlib.import_module(module), name)


class _Module(ModuleType):
    """A module that has every name, as a `_Later`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, name)


class _Finder:
    """Finds the modules in LEFT_OUT, and makes a `_Module` of each."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        is_left_out = any(name == left or name.startswith(f"{left}.") for left in LEFT_OUT)
        return ModuleSpec(name, self, is_package=True) if is_left_out else None  # type: ignore[arg-type]  # quacks like one

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


@contextmanager
def _left_out() -> Iterator[None]:
    """Meanwhile the modules in LEFT_OUT that were not imported before are made up; afterwards they are gone again."""
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
