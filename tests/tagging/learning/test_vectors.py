from itertools import pairwise

import numpy as np

from tests.support.golden_clip import load_golden
from vidfind.tagging.learning.vectors import (
    NEUTRAL,
    average_precisions,
    bag_rows,
    blend,
    centred,
    grouped_folds,
    mean_vectors,
    most_alike,
    near_duplicates,
    pooled,
    prompts,
    prototypes,
    segment_shift,
    text_shift,
    text_vectors,
    unit,
    whitening,
)

RNG = np.random.default_rng(0)


def starts_of(*sizes: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])


def test_average_precisions_are_those_of_the_authors() -> None:
    golden = load_golden("scpnet_map")
    found = average_precisions(golden["scores"], golden["targets"])
    np.testing.assert_allclose(found, golden["ap_reference"], atol=1e-9)
    np.testing.assert_allclose(found.mean() * 100, golden["map_reference"], atol=1e-9)


def test_of_equal_scores_those_of_negatives_come_first() -> None:
    scores, targets = np.zeros((4, 1)), np.array([[1], [0], [0], [1]])
    np.testing.assert_allclose(average_precisions(scores, targets), [(1 / 3 + 2 / 4) / 2])
    np.testing.assert_allclose(average_precisions(scores, targets[[1, 0, 3, 2]]), [(1 / 3 + 2 / 4) / 2])


def test_pooling_takes_the_mean_of_the_best_half_and_at_most_four() -> None:
    sizes = [1, 2, 3, 4, 5, 8, 9, 40, 0, 17]
    starts, logits = starts_of(*sizes), RNG.normal(size=(sum(sizes), 3))
    found = pooled(logits, starts)
    for (begin, end), row in zip(pairwise(starts), found, strict=True):
        if begin == end:
            assert (row == -np.inf).all()
            continue
        best = max(1, min(4, -(-(end - begin) // 2)))
        np.testing.assert_allclose(row, np.sort(logits[begin:end], axis=0)[-best:].mean(axis=0), rtol=1e-5)


def test_prototypes_follow_the_segments_that_fit_the_text() -> None:
    text = unit(np.eye(3))
    vectors = unit(np.array([[1.0, 0, 0.2], [0, 1, 0], [1, 0, -0.2], [0, 0, 1]]))
    starts = starts_of(2, 1, 1)
    positive = np.array([[True, False, False], [True, False, False], [False, False, True]])
    found = prototypes(vectors, starts, positive, text)
    assert found[0] @ text[0] > 0.999  # of the first video only the segment that fits
    assert (found[1] == 0).all()
    np.testing.assert_allclose(found[2], text[2], atol=1e-6)


def test_a_blend_without_examples_is_the_text_and_moves_on_with_each_example() -> None:
    text, looks = unit(np.eye(2, 4)), unit(np.eye(2, 4, k=2))
    np.testing.assert_allclose(blend(text, np.zeros_like(looks), np.array([0, 0])), text)
    likeness = [(blend(text, looks, np.array([count, count])) @ looks.T)[0, 0] for count in (0, 1, 3, 20)]
    assert likeness == sorted(likeness) and likeness[-1] < 0.8


def test_centring_takes_the_common_part_away() -> None:
    common = np.full(8, 5.0)
    vectors = unit(RNG.normal(size=(2000, 8)) + common)
    left = centred(vectors, segment_shift(vectors.sum(axis=0), len(vectors)))
    assert abs((left @ left.T).mean()) < 0.1 < 0.9 < (vectors @ vectors.T).mean()
    assert (segment_shift(np.zeros(8), 0) == 0).all()


def test_the_text_of_a_name_is_the_mean_of_its_prompts() -> None:
    def encode(texts: list[str]) -> np.ndarray:
        return np.array([[len(text), text.count("dog")] for text in texts], np.float32)

    assert prompts("rex", "a brown dog") == ["a video of a brown dog.", "a photo of a brown dog.", "a brown dog."]
    np.testing.assert_allclose(text_vectors(["dog", "cat"], encode)[:, 1], [1, 0])  # type: ignore[arg-type]
    assert text_vectors([], encode).shape == (0, 2)  # type: ignore[arg-type]
    assert text_shift(encode)[1] == 0  # type: ignore[arg-type]
    assert len(set(NEUTRAL)) == len(NEUTRAL) >= 33


def test_near_duplicates_join_their_groups_in_chains() -> None:
    angles = np.array([0, 0.15, 0.3, 1.5, 2.5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = near_duplicates(vectors, np.array([7, 8, 9, 10, 10]))
    assert found[0] == found[1] == found[2] != found[3] == found[4]


def test_folds_keep_groups_together_and_are_of_about_equal_size() -> None:
    groups = np.repeat(np.arange(20), RNG.integers(1, 4, 20))
    folds = grouped_folds(groups, 5)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    counts = np.bincount(folds)
    assert len(counts) == 5 and counts.max() - counts.min() <= 3
    assert (folds == grouped_folds(groups, 5)).all()
    assert set(grouped_folds(np.array([3, 3, 4]), 5)) == {0, 1}


def test_bags_are_found_by_their_segments() -> None:
    starts = starts_of(2, 0, 3)
    assert bag_rows(starts, np.array([2, 0])).tolist() == [2, 3, 4, 0, 1]
    means = mean_vectors(np.eye(5), starts)
    np.testing.assert_allclose(means[2, 2:], 3**-0.5, rtol=1e-6)
    assert (means[1] == 0).all()


def test_directions_in_which_all_segments_differ_count_less() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 4)) * [9, 1, 1, 1]
    metric = whitening(vectors)
    assert metric[0, 0] < 0.6 < metric[1, 1] <= 1
    np.testing.assert_allclose(metric, metric.T, atol=1e-6)
    np.testing.assert_allclose(whitening(np.ones((5, 4))), np.eye(4))
    np.testing.assert_allclose(whitening(np.ones((1, 4))), np.eye(4))


def test_the_segments_that_are_most_alike_are_those_that_show_the_same() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([3, 1, 4, 2, 5])
    starts = np.concatenate([[0], sizes.cumsum()])
    vectors = unit(rng.normal(size=(15, 16)))
    shown = starts[:-1] + rng.integers(0, sizes)
    vectors[shown] = unit(vectors[shown] + 1.5 * unit(rng.normal(size=16)))
    assert most_alike(vectors, starts, np.eye(16)).tolist() == shown.tolist()
