"""An index of a few videos with random vectors, for tests of tags: their commands read no video."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.ran import Ran, Run
from tests.support.rows import embed, make_row
from tests.support.stored import put
from vidfind.encoders.names import EncoderIdentity
from vidfind.store.settings import IndexSettings
from vidfind.store.store import Store
from vidfind.store.tables import VideoRow

IDENTITY = EncoderIdentity("tiny", "builtin", "digest", "tempme", None, 12)


class Library:
    """The default index of a home, with videos of 20 seconds in `folder`, and the program on it."""

    def __init__(self, home: Path, folder: Path, run: Run, *names: str) -> None:
        self.folder, self.run = folder, run
        self.store = Store.create(home / "indexes" / "default", IndexSettings(IDENTITY), dim=16)
        folder.mkdir()
        self.rows = {name: self.row(name) for name in names}
        put(self.store, [*self.rows.values()], [embed(row) for row in self.rows.values()])

    def row(self, name: str, **changes: object) -> VideoRow:
        row = make_row(str(self.folder / name), fingerprint=f"print of {name}", folder=self.folder)
        return dataclasses.replace(row, **changes)  # type: ignore[arg-type]

    def imports(self, text: str | bytes, *options: str, name: str = "tags.csv") -> Ran:
        """What `vidfind tag import` does with a list."""
        file = self.folder / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.run("tag", "import", file, *options)

    def said(self) -> list[str]:
        """What the owner said, as `a.mp4 dog`, `a.mp4 -dog` or `a.mp4 dog 0-10`."""
        lines = map(json.loads, self.run("tag", "export", "--json").out.splitlines())
        return sorted(
            f"{Path(one['path']).name} {'' if one['value'] == 'yes' else '-'}{one['tag']}"
            + (f" {one['start']:g}-{one['end']:g}" if one["start"] is not None else "")
            for one in lines
        )


def make_library(tmp_path: Path, run: Run, *names: str) -> Library:
    return Library(tmp_path / "home", tmp_path / "films", run, *names)


@pytest.fixture
def library(tmp_path: Path, run: Run) -> Library:
    """Videos a.mp4, b.mp4 and sub/c.mp4."""
    return make_library(tmp_path, run, "a.mp4", "b.mp4", "sub/c.mp4")
