"""Patterns of what a user wants to have left out: `--exclude`, and the files `.vidfindignore` in folders."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

from vidfind.errors import BadInput

IGNORE_FILE = ".vidfindignore"


class Exclusions:
    """Shell patterns such as `*.gif`, `Trash`, `old/*`, `./drafts` or `~/Videos/old`, and which of them have matched.

    A pattern matches the name of a file or folder, its path relative to the searched folder, its whole path, or its
    path relative to the current folder. Brackets may also stand for themselves, as in `[2019] Trip`."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._globs = {pattern: re.compile("|".join(map(translate, _forms(pattern)))) for pattern in patterns}
        self._unused = set(self._globs)
        self._names: set[str] = set()

    def match(self, path: str, root: str, real: str) -> bool:
        """Whether a pattern matches the file or folder at `path` below the folder `root`; `real` is the path without
        links."""
        if not self._globs:
            return False
        name = os.path.basename(path)
        spellings = {_normal(text) for text in (name, os.path.relpath(path, root), path, real)}
        matching = {pattern for pattern, glob in self._globs.items() if any(map(glob.match, spellings))}
        self._unused -= matching
        self._names.add(name)
        return bool(matching)

    def unused(self) -> list[Unused]:
        """The patterns that have matched nothing."""
        return [Unused(pattern, self._nearest(pattern)) for pattern in self._globs if pattern in self._unused]

    def _nearest(self, pattern: str) -> str | None:
        wanted = os.path.basename(pattern.rstrip("/\\"))
        by_small = {name.lower(): name for name in sorted(self._names)}
        near = difflib.get_close_matches(wanted.lower(), by_small, n=1, cutoff=0.75)
        return by_small[near[0]] if near else None


@dataclass(frozen=True)
class Unused:
    """A pattern of `--exclude` that matched nothing, and the most similar name that was met."""

    pattern: str
    similar: str | None


def _forms(pattern: str) -> Iterator[str]:
    """The shell patterns with which names and paths are compared: each way to read what was typed."""
    for typed in dict.fromkeys([pattern, pattern.replace("\\", "/"), pattern.replace("[", "[[]")]):
        bare = typed.rstrip("/") or "/"
        yield _normal(bare)
        if "/" in typed or os.sep in typed or typed.startswith("~") or bare in (".", ".."):
            whole = os.path.abspath(os.path.expanduser(bare))
            yield _normal(whole)
            yield _normal(os.path.realpath(whole))


def without_current_folder(pattern: str) -> str:
    """The pattern in a form that means the same in every current folder: `./drafts` becomes a whole path."""
    typed = pattern.rstrip("/") or "/"
    expanded = os.path.expanduser(typed)
    is_path = expanded != typed or typed.startswith(("./", "../")) or typed in (".", "..")
    is_path |= os.path.dirname(typed) not in ("", os.sep) and os.path.exists(typed)
    return os.path.abspath(expanded) if is_path else pattern


def _normal(text: str) -> str:
    """The text as the system compares names, with letters and their accents joined: macOS keeps them apart."""
    return os.path.normcase(text if text.isascii() else unicodedata.normalize("NFC", text))


@dataclass(frozen=True)
class IgnoreFile:
    """The patterns of one `.vidfindignore`, which apply to all below its folder."""

    folder: str
    _spec: object

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """Whether a path is ignored; None if no line applies to it."""
        from pathspec import GitIgnoreSpec

        assert isinstance(self._spec, GitIgnoreSpec)
        relative = os.path.relpath(path, self.folder).replace(os.sep, "/")
        return self._spec.check_file(f"{relative}/" if is_folder else relative).include


def read_ignore_file(folder: str) -> IgnoreFile | None:
    """The patterns of the `.vidfindignore` in a folder; None if there is none.

    Raises BadInput, with the line, for one that cannot be used."""
    file = os.path.join(folder, IGNORE_FILE)
    if not os.path.isfile(file):
        return None
    from pathspec import GitIgnoreSpec

    try:
        with open(file, encoding="utf-8-sig", errors="surrogateescape") as opened:
            lines = opened.read().splitlines()
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read ({error.strerror}). It says what to leave out: mend or move it."
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            raise BadInput(
                f"{file}, line {number}: {line!r} is no pattern of gitignore. Mend the line, or put a # before it."
            ) from error
    return IgnoreFile(folder, GitIgnoreSpec.from_lines(lines))


def ignore_files(folder: Path) -> list[Path]:
    """The ignore files that apply to a whole folder: in it, and in those above it."""
    return [file for step in (folder, *folder.parents) if (file := step / IGNORE_FILE).is_file()]


def is_ignored(path: str, is_folder: bool, files: Sequence[IgnoreFile]) -> bool:
    """Whether `path` is ignored by `files`, those of the folders above it from the outermost to the nearest: the
    nearest with a line that applies decides."""
    for file in reversed(files):
        decision = file.decide(path, is_folder)
        if decision is not None:
            return decision
    return False
