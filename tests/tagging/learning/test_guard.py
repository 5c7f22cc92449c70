"""Learning tags from incomplete labels, choosing how, and deciding: on made-up vectors of a small library."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vidfind.tagging.learning.examples import (
    LEFT_OUT,
    NO,
    UNKNOWN,
    YES,
    Examples,
    Recipe,
    Weights,
    blend_alone,
    fit_blend,
    fit_text,
)
from vidfind.tagging.learning.guard import (
    BLEND,
    TEXT,
    TRAINED,
    HeldOut,
    are_close,
    best_way,
    choose,
    confidences,
    is_on_nearly_all,
    threshold,
)
from vidfind.tagging.learning.prior import Relation, tag_relation
from vidfind.tagging.learning.training import TrainingFailed, train, train_published
from vidfind.tagging.learning.vectors import average_precisions, pooled, unit

QUICK = Recipe(steps=40)
TAGS, DIM = 5, 24


def library(seed: int = 0, videos: int = 80, unseen: int = 0) -> tuple[Examples, np.ndarray]:
    """Videos of one to three segments, each of one or two things, a third of them with half of their tags; the truth.

    The text of the tag `unseen` has nothing to do with what it looks like."""
    rng = np.random.default_rng(seed)
    looks = unit(rng.normal(size=(TAGS, DIM)))
    text = looks.copy()
    text[unseen] = unit(rng.normal(size=DIM))
    sizes = rng.integers(1, 4, videos)
    starts = np.concatenate([[0], sizes.cumsum()])
    shown = rng.random((sizes.sum(), TAGS)) < 0.2
    vectors = unit(shown @ looks + rng.normal(size=(len(shown), DIM)) * 0.12)
    true = np.logical_or.reduceat(shown, starts[:-1], axis=0)
    states = np.where(true & (rng.random(true.shape) < 0.6), YES, UNKNOWN).astype(np.int8)
    states[videos // 3 :] = UNKNOWN
    return Examples(vectors, starts, np.arange(videos), states, text), true


def precision(weights: Weights, examples: Examples, true: np.ndarray) -> np.ndarray:
    untouched = ~examples.touched
    return average_precisions(weights.scores(examples)[untouched], true[untouched])


def relation_of(examples: Examples) -> Relation:
    return tag_relation(examples.text, examples.states == YES)


def test_no_step_of_training_is_the_blend() -> None:
    examples, _ = library()
    blend = fit_blend(examples)
    for recipe in (Recipe(steps=0), Recipe(seconds=0), Recipe(steps=0, graph="trained")):
        weights = train(examples, blend, relation_of(examples), recipe)
        np.testing.assert_allclose(weights.scores(examples), blend.scores(examples), atol=1e-5)
        assert weights.steps == 0


def test_a_tag_that_the_text_does_not_know_is_found_from_examples() -> None:
    examples, true = library(videos=160)
    text, blend = fit_text(examples), fit_blend(examples)
    trained = train(examples, blend, relation_of(examples), QUICK)
    assert precision(text, examples, true)[0] < 0.4
    assert precision(blend, examples, true)[0] > 0.8
    assert precision(trained, examples, true)[0] > precision(text, examples, true)[0] + 0.3


def test_an_unknown_tag_is_looked_for_in_the_segments_that_its_examples_share() -> None:
    examples, true = library(videos=160)
    few = replace(examples, states=examples.states[:, :1], text=examples.text[:1])
    assert precision(fit_blend(few), few, true[:, :1])[0] > precision(blend_alone(few), few, true[:, :1])[0] + 0.02


def test_the_same_seed_gives_the_same_weights_and_the_order_of_tags_does_not_matter() -> None:
    examples, _ = library()
    first, again = (train(examples, fit_blend(examples), relation_of(examples), QUICK) for _ in range(2))
    assert first.vectors.tobytes() == again.vectors.tobytes() and first.bias.tobytes() == again.bias.tobytes()
    order = np.array([3, 0, 4, 1, 2])
    turned = replace(examples, states=examples.states[:, order], text=examples.text[order])
    other = train(turned, fit_blend(turned), relation_of(turned), QUICK)
    np.testing.assert_allclose(other.vectors, first.vectors[order], atol=1e-4)


def test_training_pools_as_the_scores_do() -> None:
    from vidfind.tagging.learning.training import _pooling

    rng = np.random.default_rng(0)
    starts = np.concatenate([[0], np.cumsum([1, 3, 2, 9, 4, 30])])
    logits = rng.normal(size=(starts[-1], 3)).astype(np.float32)
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(_pooling(starts)(torch.from_numpy(logits)), pooled(logits, starts), rtol=1e-5)


def test_a_no_is_learnt_and_never_read_as_a_yes() -> None:
    examples, _ = library()
    states = examples.states.copy()
    states[:10, 1] = NO
    told = replace(examples, states=states)
    plain, taught = (
        train(one, fit_blend(one), relation_of(one), QUICK).scores(one)[:10, 1] for one in (examples, told)
    )
    assert taught.mean() < plain.mean()


@pytest.mark.parametrize("graph", ["trained", "published"])
def test_graphs_are_trained_too(graph: str) -> None:
    examples, true = library()
    recipe = Recipe(steps=10, graph="trained" if graph == "trained" else "published")
    if graph == "trained":
        weights = train(examples, fit_blend(examples), relation_of(examples), recipe)
    else:
        weights = train_published(examples, relation_of(examples), recipe)
    assert weights.steps > 0 and precision(weights, examples, true)[1:].mean() > 0.6
    np.testing.assert_allclose(np.linalg.norm(weights.vectors, axis=1), 1, rtol=1e-5)


def test_a_loss_that_is_not_finite_falls_back_to_the_blend() -> None:
    examples, _ = library()
    broken = replace(fit_blend(examples), bias=np.full(TAGS, np.nan, np.float32))
    with pytest.raises(TrainingFailed):
        train(examples, broken, relation_of(examples), QUICK)


@pytest.mark.parametrize(
    ("blend", "trained", "way"),
    [
        ([0.4, 0.4], None, TEXT),
        ([0.6, 0.5], None, BLEND),
        ([5, 5], [5.3, 5.5], BLEND),
        ([5, 5], [6, 5.9], TRAINED),
        ([0, 0.1], [3, 4], TRAINED),
        ([0.4, 0.4], [0.6, 0.6], TRAINED),
    ],
)
def test_a_more_complicated_way_must_be_clearly_better(
    blend: list[float], trained: list[float] | None, way: str
) -> None:
    precisions = {TEXT: np.array([50.0, 60]), BLEND: np.array([50.0, 60]) + blend}
    if trained:
        precisions[TRAINED] = np.array([50.0, 60]) + trained
    assert best_way(precisions) == way
    assert best_way({name: one[:0] for name, one in precisions.items()}) == BLEND


def test_the_mean_is_used_of_two_ways_that_labels_cannot_tell_apart() -> None:
    found = {TEXT: 40.0, BLEND: 50.0, TRAINED: 51.9}
    assert are_close(found, TRAINED) and are_close(found, BLEND) and not are_close(found, TEXT)
    assert not are_close(found | {TRAINED: 52.1}, TRAINED) and not are_close({TEXT: 40.0, BLEND: 50.0}, BLEND)


def test_the_choice_is_about_as_good_as_the_best_way() -> None:
    examples, true = library(videos=120)
    recipe = Recipe(steps=15)
    choice = choose(examples, recipe)
    assert set(choice.precisions) == {TEXT, BLEND, TRAINED}
    trained = train(examples, fit_blend(examples), relation_of(examples), recipe)
    best = max(precision(one, examples, true).mean() for one in (fit_text(examples), fit_blend(examples), trained))
    assert precision(choice.weights, examples, true).mean() > best - 0.05
    assert choice.steps == 6 * 15 and not choice.is_cut


def test_with_shuffled_labels_the_trained_way_is_refused() -> None:
    for seed in range(3):
        examples, _ = library(seed)
        states = examples.states.copy()
        touched = np.flatnonzero(examples.touched)
        states[touched] = states[np.random.default_rng(seed).permutation(touched)]
        choice = choose(replace(examples, states=states), QUICK)
        assert choice.way != TRAINED and "shuffled" in choice.failed


def test_few_videos_are_not_trained_on_and_a_single_one_is_not_judged() -> None:
    examples, _ = library()
    states = np.zeros_like(examples.states)
    states[:1, 1] = YES
    alone = choose(replace(examples, states=states), QUICK)
    assert alone.way == BLEND and not alone.precisions and threshold(alone.held_out, 1) == np.inf
    states[:4, 1] = YES
    few = choose(replace(examples, states=states), QUICK)
    assert set(few.precisions) == {TEXT, BLEND} and few.way in few.precisions
    one = Examples(examples.vectors[:1], np.array([0, 1]), np.array([0]), states[:1, 1:2], examples.text[1:2])
    assert choose(one, QUICK).way == BLEND


def held_out(yes: list[float], others: list[float], state: int = UNKNOWN) -> HeldOut:
    """Scores of a tag, and of another that is known not to be there."""
    scores = np.array([[*yes, *others]] * 2, np.float32).T
    states = np.array([[YES] * len(yes) + [state] * len(others), [NO] * len(scores)], np.int8).T
    return HeldOut(np.arange(len(scores)), scores, states)


def test_confidence_rises_with_the_score_and_stays_between_0_and_1() -> None:
    found = confidences(np.linspace(-9, 9, 50), held_out([1.0, 2, 3], [0.0, 0.5, 1.5, -1]), 0)
    assert (np.diff(found) >= 0).all() and 0 < found[0] < 0.2 and 0.8 < found[-1] < 1


def test_a_tag_is_given_from_a_confident_score_on_that_most_examples_reach() -> None:
    told = held_out([1.0, 2, 3, 4], [*np.linspace(-3, 0, 40)])
    limit = threshold(told, 0)
    assert limit == np.quantile([1, 2, 3, 4], 0.25)
    assert confidences(np.array([limit]), told, 0)[0] >= 0.8
    assert threshold(told, 0, least=0.999) == np.inf
    assert threshold(held_out([1.0, 2], [0.0] * 9), 0) == np.inf  # two examples are too few
    left_out = held_out([1.0, 2, 3, 4], [9.0] * 40, LEFT_OUT)
    assert threshold(left_out, 0, least=0.4) < 4


def test_a_tag_of_nearly_every_video_is_not_given_before_there_is_a_no() -> None:
    told = held_out([1.0] * 20, [0.0])
    assert is_on_nearly_all(told, 0) and threshold(told, 0) == np.inf
    assert not is_on_nearly_all(held_out([1.0] * 20, [0.0], NO), 0)
