import json
from collections.abc import Sequence

import numpy as np
import pytest

from vidfind.training.recall import (
    Firsts,
    Recall,
    Retrieval,
    clearly_rose,
    judge,
    judge_held_out,
    log_probabilities,
    ranks,
    recall_of,
)


def draw_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities with many ties, and for each query one right item or more."""
    rng = np.random.default_rng(seed)
    queries, items = rng.integers(1, 30, 2)
    similarity = rng.integers(0, 6, (queries, items)) / 4
    relevant = rng.random((queries, items)) < 0.15
    relevant[np.arange(queries), rng.integers(0, items, queries)] = True
    return similarity, relevant


def rank_slowly(scores: np.ndarray, right: np.ndarray) -> float:
    """One query, by sorting: the mean over the best and the worst order that ties allow."""
    best = max(score for score, is_right in zip(scores, right, strict=True) if is_right)
    wrong = sorted((score for score, is_right in zip(scores, right, strict=True) if not is_right), reverse=True)
    first = next((i for i, score in enumerate(wrong) if score <= best), len(wrong))
    last = next((i for i, score in enumerate(wrong) if score < best), len(wrong))
    return 1 + (first + last) / 2


@pytest.mark.parametrize("seed", range(20))
def test_ranks_are_those_of_a_slow_independent_count(seed: int) -> None:
    similarity, relevant = draw_case(seed)
    expected = [rank_slowly(scores, right) for scores, right in zip(similarity, relevant, strict=True)]
    np.testing.assert_array_equal(ranks(similarity, relevant), expected)


def test_the_right_item_far_ahead_has_rank_1() -> None:
    retrieval = judge(np.eye(12), np.eye(12, dtype=bool))
    assert retrieval.text_to_video == retrieval.video_to_text == Recall(100, 100, 100, 1, 1, 12)
    assert retrieval.r_sum == 600


def test_the_right_item_far_behind_has_the_last_rank() -> None:
    assert ranks(-np.eye(12), np.eye(12, dtype=bool)).tolist() == [12] * 12


@pytest.mark.parametrize("value", [0.3, np.nan])
def test_an_encoder_that_says_the_same_of_everything_is_no_better_than_a_lot(value: float) -> None:
    constant = judge(np.full((99, 99), value), np.eye(99, dtype=bool)).text_to_video
    assert constant == Recall(0, 0, 0, 50, 50, 99)


def test_other_right_items_do_not_push_the_best_one_back() -> None:
    similarity = np.array([[0.9, 0.8, 0.7, 0.6]])
    assert ranks(similarity, np.array([[False, True, True, False]])) == [2]
    assert ranks(similarity, np.array([[True, True, True, False]])) == [1]
    assert ranks(similarity, np.array([[False, False, True, True]])) == [3]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_captions_and_videos_makes_no_difference(seed: int) -> None:
    similarity, relevant = draw_case(seed)
    rng = np.random.default_rng(seed)
    rows, columns = (rng.permutation(length) for length in similarity.shape)
    assert judge(similarity[rows][:, columns], relevant[rows][:, columns]) == judge(similarity, relevant)


@pytest.mark.parametrize("seed", range(5))
def test_turned_around_the_two_directions_change_places(seed: int) -> None:
    similarity, relevant = draw_case(seed)
    there, back = judge(similarity, relevant), judge(similarity.T, relevant.T)
    assert (there.text_to_video, there.video_to_text) == (back.video_to_text, back.text_to_video)


def test_what_has_no_partner_is_no_query_but_can_be_mistaken_for_one() -> None:
    similarity = np.array([[0.5, 0.9], [0.7, 0.1]])
    retrieval = judge(similarity, np.array([[True, False], [False, False]]))
    assert retrieval.text_to_video == Recall(0, 100, 100, 2, 2, 1)
    assert retrieval.video_to_text == Recall(0, 100, 100, 2, 2, 1)


def test_recall_counts_ranks_up_to_1_5_and_10() -> None:
    assert recall_of(np.array([1, 2, 5, 10, 100, 1.5, 5.5, 11])) == Recall(12.5, 50, 75, 5.25, 17, 8)


def test_nothing_to_judge_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no queries"):
        judge(np.ones((3, 3)), np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="right item"):
        ranks(np.ones((3, 3)), np.zeros((3, 3), dtype=bool))


def test_a_retrieval_survives_json() -> None:
    retrieval = judge(*draw_case(3))
    values = json.loads(json.dumps(retrieval.as_dict()))
    assert Retrieval.from_dict(values) == retrieval
    assert values["r_sum"] == retrieval.r_sum


@pytest.mark.parametrize(
    ("gained", "lost", "kept", "rose"),
    [(7, 0, 13, True), (6, 0, 14, False), (4, 0, 0, False), (20, 2, 0, True), (10, 4, 40, False), (0, 0, 40, False)],
)
def test_a_gain_counts_only_if_it_is_hardly_chance(gained: int, lost: int, kept: int, rose: bool) -> None:
    before = np.array([False] * gained + [True] * (lost + kept))
    after = np.array([True] * gained + [False] * lost + [True] * kept)
    assert clearly_rose(before, after) is rose
    assert clearly_rose(after, before) is False


def test_queries_that_are_not_asked_stay_candidates() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.1, 0.2, 0.8], [0.95, 0.1, 0.9]])
    relevant = np.eye(3, dtype=bool)
    some = judge(similarity, relevant, captions=2, items=1)
    assert (some.text_to_video.count, some.text_to_video.mean) == (2, 1.5)  # the second: behind the third clip
    assert (some.video_to_text.count, some.video_to_text.mean) == (1, 2)  # behind the third caption


def test_probabilities_of_several_right_items_add_up() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]]))
    relevant = np.array([[True, True, False], [False, False, True]])
    np.testing.assert_allclose(np.exp(log_probabilities(logits, relevant)), [3 / 8, 1 / 2])


def test_a_word_is_marked_by_what_it_adds_to_held_out_captions() -> None:
    captions = ["red blip", "blue blip", "green blip", "a star", "a circle"]

    def similarity(texts: Sequence[str]) -> np.ndarray:
        """What has no blip is like all clips; with one it is like its own."""
        of_word = np.eye(5)[[captions.index(text) if "blip" in text else 0 for text in texts]]
        return np.where(np.array(["blip" in text for text in texts])[:, None], of_word, 0.0)

    judged = judge_held_out(similarity, captions, np.eye(5, dtype=bool), 4, 4, ["blip", "dax"], 3.0)
    places, _ = judged.words["blip"]
    assert list(places) == [0, 1, 2] and judged.first[:3].all()
    is_better, rest, of_words = judged.since(np.zeros(4, bool))
    marks = of_words["blip"]
    assert (is_better, rest) == (False, Firsts(1, 0, 0))
    assert (marks.count, marks.before, marks.after, marks.verdict) == (3, 0, 3, "learned")
    assert (of_words["dax"].count, of_words["dax"].verdict) == (0, "unknown")
