"""The quick imports: they leave nothing made up behind, and give way to the plain ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.after_torch import RunAfterTorch
from tests.support.rows import embed, make_row
from tests.support.stored import put
from vidfind.store.store import Store
from vidfind.system import imports

USE_INDEX = """
from pathlib import Path
import numpy
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Embedded, Store

settings = IndexSettings(EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12))
store = Store.create(Path(sys.argv[1]), settings, dim=4)
with store.writing() as writer:
    writer.put([], [Embedded(1, [(0.0, 1.0)], numpy.eye(4)[:1])])
found = store.search(numpy.ones(4), 5)
made_up = [name for name, module in sys.modules.items() if isinstance(module, imports._Module)]
print(len(found), made_up, "lancedb.namespace" in sys.modules)
"""


def run(code: str, *arguments: object, **environment: str) -> str:
    """What a new Python prints: in this one, all is imported already."""
    command = [
        sys.executable,
        "-c",
        f"import os, sys\nfrom vidfind.system import imports\n{code}",
        *map(str, arguments),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_an_index_works_without_what_is_left_out(tmp_path: Path) -> None:
    assert run(USE_INDEX, tmp_path / "index") == "1 [] False"


def test_where_the_quick_import_fails_the_plain_one_follows(tmp_path: Path) -> None:
    needed_at_once = "imports.LEFT_OUT += ('lancedb.rerankers',)\n"
    assert run(needed_at_once + USE_INDEX, tmp_path / "index") == "1 [] True"


def test_a_name_left_out_is_the_real_one_when_it_is_used(tmp_path: Path) -> None:
    code = """
imports.import_lancedb()
from lancedb import table
late = table.EmbeddingFunctionRegistry
from lancedb.embeddings import EmbeddingFunctionRegistry as real
print(type(late).__name__, late.get_instance() is real.get_instance(), isinstance(real(), late))
"""
    assert run(code) == "_Later True True"


def test_two_threads_get_the_whole_package() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    print([hasattr(lancedb, "connect") for lancedb in pool.map(lambda _: imports.import_lancedb(), range(4))])
"""
    assert run(code) == "[True, True, True, True]"


def test_lancedb_follows_torch_in_a_thread_and_not_where_there_is_no_torch() -> None:
    code = """
import threading, types
imports.import_lancedb_after_torch()
[thread] = set(threading.enumerate()) - {threading.main_thread()}
seen = ["lancedb" in sys.modules]
sys.modules["torch"] = types.ModuleType("torch")
thread.join(60)
print(seen, hasattr(sys.modules["lancedb"], "connect"))
del sys.modules["torch"]
imports.import_lancedb_after_torch()  # which ends with the process
"""
    assert run(code) == "[False] True"


@pytest.mark.parametrize(("given", "left"), [({}, "None"), ({imports.BLAS_THREADS: "3"}, "3")], ids=["free", "set"])
def test_numpy_is_told_of_one_core_and_other_programs_are_not(
    given: dict[str, str], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(imports.BLAS_THREADS, raising=False)
    code = "imports.import_numpy(); print('numpy' in sys.modules, os.environ.get(imports.BLAS_THREADS))"
    assert run(code, **given) == f"True {left}"


# torch


def test_torch_computes_without_what_tells_shapes_which_comes_when_it_is_wanted() -> None:
    code = """
import importlib.metadata
imports.QUICK_TORCH = importlib.metadata.version("torch")  # of a new version, this tells whether it may be quick
imports.quicken_torch()
import torch
print(imports.META in sys.modules, hasattr(torch, "_meta_registrations"), torch.ones(2, 2).matmul(torch.ones(2)).sum())
print(torch.rand(1, generator=torch.Generator().manual_seed(0)).shape, imports.META in sys.modules)
import torch._decomp
made_up = [finder for finder in sys.meta_path if type(finder).__module__ == imports.__name__]
print(torch._meta_registrations.activate_meta.__name__, len(torch._decomp.decomposition_table) > 500, made_up)
"""
    assert run(code).splitlines() == ["False False tensor(4.)", "torch.Size([1]) False", "activate_meta True []"]


@pytest.mark.parametrize(("version", "is_quick"), [("2.15.1+cpu", True), ("2.16.0", False)])
def test_a_version_of_torch_that_is_not_known_is_imported_as_it_comes(
    version: str, is_quick: bool, tmp_path: Path
) -> None:
    (tmp_path / "version.py").write_text(f"__all__ = ['__version__']\n__version__ = '{version}'\n")
    assert imports._is_quick(tmp_path) == is_quick


# open_clip


IMPORTS = "import os, sys; from vidfind.system import imports; "
OPEN_CLIP = f"{IMPORTS}open_clip = imports.import_open_clip(); "


def test_models_are_made_without_the_compiler_and_timm_which_can_be_imported_afterwards(
    after_torch: RunAfterTorch,
) -> None:
    seen = after_torch(
        OPEN_CLIP + "model = open_clip.create_model('ViT-S-32-alt', load_weights=False); "
        "print(type(model.visual).__name__, sorted({'timm', 'torch._dynamo', 'triton'} & set(sys.modules))); "
        "import timm, torch._dynamo, torchvision.ops; print(hasattr(torch._dynamo, 'disable'), hasattr(timm, 'models'))"
    )
    assert seen == "VisionTransformer []\nTrue True"


def test_what_is_there_already_stays(after_torch: RunAfterTorch) -> None:
    code = "import sys, timm; before = sys.modules['timm']; " + OPEN_CLIP + "print(sys.modules['timm'] is before)"
    assert after_torch(code) == "True"


def test_where_more_is_needed_all_is_imported(after_torch: RunAfterTorch) -> None:
    """As with a torchvision that needs more of the compiler."""
    code = (
        IMPORTS + "imports.COMPILER = 'torchvision'; print(imports.import_open_clip().__name__, 'timm' in sys.modules)"
    )
    assert after_torch(code) == "open_clip True"


def test_a_library_that_cannot_be_imported_at_all_is_named_with_what_to_do(
    after_torch: RunAfterTorch, tmp_path: Path
) -> None:
    """As where pip has installed PyTorch for the CPU, and torchvision for CUDA."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from vidfind.errors import BrokenInstallation
from vidfind.system import imports
try:
    imports.import_open_clip()
except BrokenInstallation as error:
    print(error)
"""
    said = after_torch(code)
    assert said.startswith(
        "open_clip cannot be imported: operator torchvision::nms does not exist. Install vidfind again"
    )


TIMM = "open_clip = imports.import_open_clip('vit_pe_core_tiny_patch16_384'); "
MAKE = "model = open_clip.create_model('PE-Core-T-16-384', load_weights=False); print(type(model.visual.trunk)); "


def test_one_kind_of_tower_of_timm_is_imported_and_the_rest_when_it_is_asked_for(
    after_torch: RunAfterTorch,
) -> None:
    seen = after_torch(
        IMPORTS + TIMM + MAKE + "print('timm.models.resnet' in sys.modules); "
        "import timm; from timm.models.eva import Eva; print(isinstance(model.visual.trunk, Eva)); "
        "print(len(timm.list_models('resnet18')), timm.models.Eva is Eva, timm.layers.Mlp, timm.data.create_transform)"
    )
    made, others, same, rest = seen.splitlines()
    assert (made, others, same, rest[:7]) == ("<class 'timm.models.eva.Eva'>", "False", "True", "1 True ")


def test_where_timm_has_changed_all_of_it_is_imported(after_torch: RunAfterTorch) -> None:
    changed = IMPORTS + "imports.TIMM_PACKAGES += ('timm.gone',); "
    seen = after_torch(changed + TIMM + MAKE + "print('timm.models.resnet' in sys.modules)")
    assert seen == "<class 'timm.models.eva.Eva'>\nTrue"


# decord


def test_nvidia_is_hidden_meanwhile_and_there_again_afterwards() -> None:
    code = """
from importlib.util import find_spec
from types import ModuleType
sys.modules["nvidia"] = real = ModuleType("nvidia")
with imports.without_nvidia():
    print(find_spec("nvidia"), end=" ")
print(sys.modules["nvidia"] is real)
"""
    assert run(code) == "None True"


def test_a_search_imports_no_more_than_it_needs(store: Store) -> None:
    row = make_row("/v/1.mp4")
    put(store, [row], [embed(row)])
    code = """
from pathlib import Path
import numpy
import vidfind.cli.search
from vidfind.search.searcher import Searcher
store = Searcher(Path(sys.argv[1])).store
print(len(store.search(numpy.ones(16), 5)), len(store.videos_of([int(sys.argv[2])])))
print(sys.modules.keys() & {"lancedb", "pyarrow.compute", "urllib.request", "av", "torch"})
print(hasattr(imports.import_lancedb(), "connect"), store.tables.videos.whole.count_rows())
"""
    assert run(code, store.path, row.content) == "2 1\nset()\nTrue 1"
