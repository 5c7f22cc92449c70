"""What a search can look for: each part, and what makes no sense together."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidfind.errors import BadInput
from vidfind.search.question.expression import Example, Expression


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "The query is empty. Say what to look for: "),
        ({"words": "\u200b "}, "The query is empty"),
        ({"without": ["people"]}, "Say first what to look for, and then what not, or what comes next: dog on a beach"),
        ({"then": ["a car"]}, "Say first what to look for"),
        ({"unlike": ["a.jpg"], "words": " "}, "Say first what to look for"),
        ({"words": "a dog", "without": [" "]}, "--not needs words behind it."),
        ({"words": "a dog", "then": ["a car", ""]}, "--then needs words behind it."),
        ({"words": "a dog", "within": 3}, "--within says how soon after one another: it needs --then."),
        ({"words": "a dog", "then": ["a car"], "within": -1}, "The time between two steps cannot be -1 seconds."),
        ({"words": "dog", "without": ["dog"]}, "'dog' is both looked for and left out."),
        ({"words": "A  dog", "without": ["people", "a dog "]}, "'A dog' is both looked for and left out."),
        ({"words": "a dog", "then": ["a car"], "without": ["a car"]}, "'a car' is both looked for and left out."),
        ({"like": ["a.jpg"], "unlike": [Example(Path("a.jpg"))]}, "'a.jpg' is both looked for and left out."),
    ],
    ids=str,
)
def test_what_makes_no_sense_says_why(parts: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Expression(**parts)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_one_text_is_as_good_as_a_list_of_one() -> None:
    assert Expression("a dog", without="people", like="a.mp4") == Expression("a dog", ["people"], (), ["a.mp4"])
    expression = Expression("a dog", then=["a car", "a tree"], like=["~/a.mp4@1:23", "b.jpg"])
    assert expression.steps == ["a dog", "a car", "a tree"]
    assert expression.likes == [Example(Path.home() / "a.mp4", 83), Example(Path("b.jpg"))]
