"""The public names: `from vidfind import ...` has what its list says, and each docstring can be followed."""

from __future__ import annotations

import ast
import csv
import dataclasses
import doctest
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vidfind
from vidfind import errors

NAMES = [name for name in vidfind.__all__ if name != "__version__"]
CALLS = [
    name for name in NAMES if not dataclasses.is_dataclass(getattr(vidfind, name)) and not hasattr(errors, name)
]  # what is called: no results, no settings, no errors
WITHIN = {"ReaderFailed"}  # errors that vidfind handles itself
MADE_FOR_USERS = {
    "Adapter",
    "Asked",
    "EncoderIdentity",
    "Int8Tower",
    "PaddedTokenizer",
    "Tower",
    "Trial",
}  # arguments that other public calls make and pass on
OWN_CLASSES = {
    name
    for file in Path(vidfind.__file__).parent.rglob("*.py")
    for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(vidfind, name)
    assert value.__name__ == name
    first_line = (inspect.getdoc(value) or "").partition("\n")[0]
    assert first_line.rstrip().endswith((".", ":"))
    assert not first_line.startswith(f"{name}(")  # what a dataclass without a docstring has


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(vidfind.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    seen = {alias.asname: node.module for node in imports for alias in node.names if alias.asname == alias.name}
    assert seen == {name: getattr(vidfind, name).__module__ for name in NAMES}


def test_all_names_come_with_a_star_and_in_dir() -> None:
    scope: dict[str, object] = {}
    exec("from vidfind import *", scope)
    assert set(vidfind.__all__) <= scope.keys()
    assert set(vidfind.__all__) <= set(dir(vidfind))
    assert len(set(vidfind.__all__)) == len(vidfind.__all__)


def test_every_error_a_user_meets_is_public() -> None:
    own = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert own - WITHIN == {name for name in NAMES if hasattr(errors, name)}


def test_whatever_a_public_call_takes_is_public() -> None:
    """So that nobody has to look for a class in the packages to make an argument."""
    functions = [one for name in CALLS for one in [getattr(vidfind, name), *public_methods(getattr(vidfind, name))]]
    taken = {own for function in functions if inspect.isfunction(function) for own in classes_taken(function)}
    assert {"Encoder", "EncoderChoice", "Filters", "IndexOptions", "Pair", "Recipe"} <= taken
    assert taken - set(NAMES) <= MADE_FOR_USERS


def test_a_mistyped_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sercher'"):
        vidfind.Sercher  # type: ignore[attr-defined]  # noqa: B018


def test_importing_vidfind_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import vidfind; dir(vidfind); print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vidfind"]


# Examples in docstrings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with drawn videos, captions of them, and the default index made with the built-in model."""
    from vidfind.demo.collection import draw_collection

    home = tmp_path_factory.mktemp("home")
    drawn = draw_collection(home / "Videos", 12)
    with open(home / "captions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "caption"), *((f"Videos/{path.name}", text) for path, text in drawn)])
    index, choice = home / "vidfind" / "indexes" / "default", vidfind.EncoderChoice(model="tiny")
    events = list(vidfind.index_videos([home / "Videos"], index, choice, device="cpu"))
    assert [event.status for event in events if isinstance(event, vidfind.Outcome)] == ["new"] * 12
    return home


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, where `~` and the current folder lead to."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("VIDFIND_HOME", str(home / "vidfind"))
    monkeypatch.chdir(home)
    return home


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples in the docstring of a public name, and in those of its public methods."""
    finder = doctest.DocTestFinder(recurse=False, exclude_empty=True)
    value = getattr(vidfind, name)
    tests = [test for one in [value, *public_methods(value)] for test in finder.find(one, globs={})]
    return [test for test in tests if test.examples]


def public_methods(value: object) -> Iterator[object]:
    """The methods of a class that its users call; none for a function."""
    if inspect.isclass(value):
        for name, one in vars(value).items():
            if inspect.isfunction(one) and (not name.startswith("_") or name == "__init__"):
                yield one


def classes_taken(function: Callable[..., object]) -> Iterator[str]:
    """The classes of vidfind in the annotations of a function's parameters."""
    for name, annotation in inspect.get_annotations(function).items():
        if name != "return":
            words = re.findall(r"\w+", annotation if isinstance(annotation, str) else repr(annotation))
            yield from (word for word in words if word in OWN_CLASSES)


@pytest.mark.parametrize("name", CALLS)
def test_each_public_call_shows_an_example(name: str) -> None:
    assert examples_of(name)


@pytest.mark.parametrize("name", [name for name in NAMES if examples_of(name)])
def test_the_examples_in_docstrings_give_what_they_say(at_home: Path, name: str) -> None:
    for test in examples_of(name):
        printed = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        runner.run(test, out=printed.write)
        assert runner.failures == 0, printed.getvalue()
