"""Where tests lie."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
IMPORT = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*(?:test_\w+|conftest)\b.*", re.MULTILINE)


def test_no_test_imports_another() -> None:
    """What several tests use lies in tests/support."""
    imports = {file.name: IMPORT.findall(file.read_text(encoding="utf-8")) for file in TESTS.rglob("*.py")}
    assert {name: found for name, found in imports.items() if found} == {}


def test_tests_lie_in_folders_named_after_the_packages() -> None:
    folders = {file.parent.name for file in TESTS.glob("*/test_*.py")}
    packages = {file.parent.name for file in (TESTS.parent / "vidfind").glob("*/__init__.py")}
    assert folders - packages == {"program"}
