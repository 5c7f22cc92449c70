"""The seats of a crew: how many, and on which nodes. No cluster runs here."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vidfind.cluster.crew import Crew
from vidfind.cluster.options import ClusterOptions


def described(*names: str, cores: float = 4) -> list[dict[str, Any]]:
    return [{"NodeID": f"id-{name}", "NodeName": name, "Alive": True, "Resources": {"CPU": cores}} for name in names]


def make_crew() -> Crew:
    return Crew(ClusterOptions("somewhere", cores=2), lambda node, shape, room: object())


def seats(crew: Crew) -> dict[str, int]:
    return dict(Counter(seat.node.name for seat in crew.seats))


def test_few_videos_are_spread_over_the_nodes_and_many_fill_them() -> None:
    crew = make_crew()
    assert crew.look(described("a", "b", "c"), wanted=2) == []
    assert seats(crew) == {"a": 1, "b": 1}
    crew.look(described("a", "b", "c"), wanted=3)
    assert seats(crew) == {"a": 1, "b": 1, "c": 1}
    crew.look(described("a", "b", "c"), wanted=100)
    assert seats(crew) == {"a": 2, "b": 2, "c": 2}
    crew.look(described("a", "b", "c"), wanted=1)
    assert seats(crew) == {"a": 2, "b": 2, "c": 2}  # nothing is ended because little is left


def test_the_seats_of_a_node_that_is_gone_or_left_out_are_returned_and_others_take_their_place() -> None:
    crew = make_crew()
    crew.look(described("a", "b"), wanted=2)
    [lost] = crew.look(described("b"), wanted=2)
    assert lost.node.name == "a"
    crew.seats.remove(lost)
    assert seats(crew) == {"b": 2}
    node = crew.seats[0].node
    assert crew.leave_out(node, "it reads nothing") == crew.seats
    crew.look(described("b"), wanted=9)
    assert seats(crew) == {"b": 2} and not crew.usable
