"""Compares an index that three nodes have made with one made here."""

from __future__ import annotations

from pathlib import Path

from tests.measure.cluster.runs import CLIPS, draw, index
from tests.support.equal import differences
from tests.support.nodes import starting
from vidfind.store.store import Store


def equal(base: Path, videos: int) -> None:
    drawn = draw(base / "drawn", videos)
    with starting(["a", "b", "c"], base) as nodes:
        for name, folder in (("tests/clips", CLIPS), (f"{videos} drawn videos", drawn)):
            here = index(folder, base / "indexes" / f"{folder.name}-here")
            there = index(folder, base / "indexes" / f"{folder.name}-there", nodes.address)
            stores = [Store.open(base / "indexes" / f"{folder.name}-{where}") for where in ("here", "there")]
            found = differences(*stores)
            print(f"{name}: {dict(there.counts)}, {stores[1].count_segments()} segments")
            print(f"  here {here.elapsed:.0f} s, on three nodes {there.elapsed:.0f} s; {len(found)} differences")
            print("".join(f"  {one}\n" for one in found), end="", flush=True)
