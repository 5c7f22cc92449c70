"""Classes are learned from a few examples: the ways to learn, the guard, limits and decisions, on made-up vectors."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from vidfind.categories.judging import (
    LINEAR,
    PROTOTYPE,
    TOKEN,
    VECTOR,
    ZERO_SHOT,
    at_least,
    best_limit,
    choose,
    classify,
    confidences,
    is_ranked_high,
    leads,
)
from vidfind.categories.learning import RIDGE, learn, logit_scale, prototype, ridge, starting_bias
from vidfind.categories.shared_network import fit_vectors
from vidfind.categories.tasks import ClassExamples, LearnedClasses, Learning, Task, Texts
from vidfind.tagging.learning.vectors import prototypes, unit

DIM = 128
PETS = Task("pets", ("mia", "rex"), ("", ""))
ROOMS = Task("rooms", ("attic", "kitchen", "study"), ("", "", ""))
PEOPLE_TASK = Task("people", ("ann", "bob"), ("", ""), is_multi=True)
Vectors = np.ndarray


def make_examples(tasks: list[Task], looks: Vectors, each: int = 4, noise: float = 0.6, seed: int = 0) -> ClassExamples:
    """Videos of two segments of each class, near its look (C, D), and 40 of anything."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(tasks)), [len(task.classes) for task in tasks])
    chosen = np.repeat(np.arange(len(looks)), each)
    known = looks[chosen].repeat(2, axis=0) + noise / np.sqrt(DIM) * rng.standard_normal((2 * len(chosen), DIM))
    plain = unit(np.concatenate([known, rng.standard_normal((40, DIM))]))
    bags = len(chosen) + 40
    states = np.zeros((bags, len(looks)), np.int8)
    states[np.arange(len(chosen)), chosen] = 1
    answered = np.zeros((bags, len(tasks)), bool)
    answered[np.arange(len(chosen)), owner[chosen]] = True
    starts = np.concatenate([np.arange(len(chosen)) * 2, 2 * len(chosen) + np.arange(41)])
    return ClassExamples(plain, plain, starts, states, answered, np.arange(bags))


@pytest.fixture(scope="module")
def looks() -> Vectors:
    return unit(np.random.default_rng(5).standard_normal((5, DIM)))


@pytest.fixture(scope="module")
def texts() -> Texts:
    """Texts that say nothing of the looks."""
    rng = np.random.default_rng(6)
    classes, tasks = (unit(rng.standard_normal((count, DIM))) for count in (5, 2))
    return Texts(classes, tasks, np.zeros(DIM, np.float32))


def learned(examples: ClassExamples, texts: Texts, mode: str = "prototype", seconds: float = 60) -> LearnedClasses:
    shift = np.zeros(DIM, np.float32)
    return learn(examples, [PETS, ROOMS], texts, shift, Learning(mode, max_seconds=seconds, steps=20))


def test_classes_that_their_names_do_not_show_are_learned_from_four_examples(looks: Vectors, texts: Texts) -> None:
    made = learned(make_examples([PETS, ROOMS], looks), texts)
    assert made.mode == PROTOTYPE
    assert made.scores[PROTOTYPE] > 95 > made.scores[ZERO_SHOT]
    assert made.names == ["pets:mia", "pets:rex", "rooms:attic", "rooms:kitchen", "rooms:study"]
    rng = np.random.default_rng(9)
    new = unit(looks.repeat(20, axis=0) + 0.6 / np.sqrt(DIM) * rng.standard_normal((100, DIM)))
    given, sure = classify(made, new)
    right = np.eye(5, dtype=bool).repeat(20, axis=0)
    assert (given & right).sum() >= 70
    assert (given & ~right).sum() <= 5
    assert 0 < sure[given].min() <= sure[given].max() < 1


def test_what_is_like_no_class_gets_none(looks: Vectors, texts: Texts) -> None:
    made = learned(make_examples([PETS, ROOMS], looks), texts)
    given, _ = classify(made, unit(np.random.default_rng(8).standard_normal((400, DIM))))
    assert given.mean() < 0.02


def test_the_shared_network_starts_at_the_blend_and_lowers_the_loss(looks: Vectors, texts: Texts) -> None:
    tasks = [PETS, ROOMS]
    examples = make_examples(tasks, looks, noise=2.0)
    scale = logit_scale(examples.vectors, texts.centred)
    start = starting_bias(prototype(examples, texts, scale), examples, tasks)
    counts = examples.counts()
    seen = prototypes(examples.vectors, examples.starts, examples.states > 0, texts.centred)
    weighed = ((counts / (counts + 2))[:, None] * seen).astype(np.float32)
    arguments = (examples, tasks, start, texts.centred, texts.tasks, weighed, scale)
    same, steps = fit_vectors(*arguments, steps=0)
    assert steps == 0
    np.testing.assert_allclose(same.centred, start.centred, atol=1e-5)
    np.testing.assert_array_equal(same.bias, start.bias)
    trained, steps = fit_vectors(*arguments, steps=20)
    again, _ = fit_vectors(*arguments, steps=20)
    assert steps == 20
    assert trained.centred.tobytes() == again.centred.tobytes()
    rows, targets = examples.labelled, examples.targets(tasks)

    def likelihood(logits: Vectors) -> float:
        own = logits[rows & (targets[:, 0] >= 0)]
        shares = np.exp(own[:, [0, 1, 5]])
        right = targets[rows & (targets[:, 0] >= 0), 0]
        return float(np.log(shares[np.arange(len(own)), right] / shares.sum(axis=1)).mean())

    assert likelihood(trained.pooled(examples)) > likelihood(start.pooled(examples))


def test_training_ends_when_the_time_is_over(looks: Vectors, texts: Texts) -> None:
    began = time.monotonic()
    made = learned(make_examples([PETS, ROOMS], looks), texts, "vector", seconds=0.0)
    assert time.monotonic() - began < 30
    assert made.steps == 0


def test_examples_at_random_choose_no_trained_model(looks: Vectors, texts: Texts) -> None:
    """The guard sees that what was learned is of no use: whatever is chosen gives next to nothing a class."""
    chosen = []
    for seed, mode in enumerate(["linear", "linear", "linear", "vector"]):
        examples = make_examples([PETS, ROOMS], np.zeros_like(looks), seed=seed)
        made = learned(examples, texts, mode)
        chosen.append(made.mode)
        given, _ = classify(made, unit(np.random.default_rng(seed).standard_normal((200, DIM))))
        assert given.mean() < 0.15
    assert VECTOR not in chosen


def test_order_of_classes_and_tasks_does_not_matter(looks: Vectors, texts: Texts) -> None:
    examples = make_examples([PETS, ROOMS], looks)
    made = learned(examples, texts, "linear")
    order = np.array([2, 3, 4, 0, 1])
    turned = dataclasses.replace(examples, states=examples.states[:, order], answered=examples.answered[:, ::-1])
    words = Texts(texts.classes[order], texts.tasks[::-1].copy(), texts.shift)
    other = learn(turned, [ROOMS, PETS], words, made.shift, Learning("linear"))
    np.testing.assert_allclose(other.heads.centred[:5], made.heads.centred[:5][order], atol=1e-4)
    np.testing.assert_allclose(other.margins, made.margins[::-1], atol=1e-3)


def test_a_class_of_one_video_is_given_to_nothing(looks: Vectors, texts: Texts) -> None:
    examples = make_examples([PETS, ROOMS], looks)
    hidden = np.zeros(len(examples.groups), bool)
    hidden[1:4] = True
    made = learned(examples.without(hidden), texts)
    assert made.validated.tolist() == [False, True, True, True, True]
    given, _ = classify(made, looks)
    assert given.diagonal().tolist()[0] is False


@pytest.mark.parametrize("mode", ["prototype", "vector"])
def test_people_may_share_a_segment(mode: str, looks: Vectors) -> None:
    rng = np.random.default_rng(3)
    words = Texts(unit(rng.standard_normal((2, DIM))), unit(rng.standard_normal((1, DIM))), np.zeros(DIM, np.float32))
    shown = unit(np.stack([looks[0], looks[1], looks[0] + looks[1]]))
    drawn = make_examples([Task("people", ("ann", "bob", "both"), ("", "", ""))], shown, each=6)
    both = np.maximum(drawn.states[:, :2], drawn.states[:, 2:])
    made = learn(dataclasses.replace(drawn, states=both), [PEOPLE_TASK], words, words.shift, Learning(mode, steps=20))
    given, _ = classify(made, np.concatenate([shown, looks[4:]]))
    assert given.tolist() == [[True, False], [False, True], [True, True], [False, False]]


def test_a_task_of_one_class_is_that_class_against_none(looks: Vectors) -> None:
    task = Task("pets", ("rex",), ("",))
    words = Texts(looks[4:5], looks[3:4], np.zeros(DIM, np.float32))
    made = learn(make_examples([task], looks[:1]), [task], words, words.shift, Learning("prototype"))
    given, _ = classify(made, np.concatenate([looks[:1], unit(np.random.default_rng(1).standard_normal((200, DIM)))]))
    assert given[0, 0]
    assert given[1:].mean() < 0.03


def test_a_way_is_used_only_if_it_beats_a_simpler_one_clearly() -> None:
    assert choose({ZERO_SHOT: 50, PROTOTYPE: 50.4, LINEAR: 50.6, VECTOR: 51.0}) == LINEAR
    assert choose({ZERO_SHOT: 50, PROTOTYPE: 40, TOKEN: 50.4}) == ZERO_SHOT
    assert choose(dict.fromkeys([ZERO_SHOT, PROTOTYPE], float("nan"))) == PROTOTYPE


def test_the_best_limit_accepts_what_is_worth_most() -> None:
    assert best_limit(np.array([3.0, 2, 1, 0]), np.array([1.0, 1, -1, 1])) == 2
    assert best_limit(np.array([3.0, 2]), np.array([-1.0, 0.5])) == np.inf
    assert best_limit(np.array([1.0, 1, 1]), np.array([1.0, 1, -3])) == np.inf
    assert best_limit(np.zeros(0), np.zeros(0)) == np.inf


def test_a_class_must_beat_none_and_the_next_best() -> None:
    best, lead = leads(np.array([[2.0, 1], [2, 3]]), np.array([1.5, -1]))
    assert best.tolist() == [0, 1]
    assert lead.tolist() == [0.5, 1]
    assert leads(np.array([[2.0]]), 1.0)[1].tolist() == [1]


def test_confidence_grows_with_the_lead() -> None:
    sure = confidences(np.array([-1.0, 0.5, 2.5]), np.array([0.0, 1, 2]), np.array([-2.0, 0, 0.7]))
    assert 0 < sure[0] < sure[1] < sure[2] < 1


@pytest.mark.parametrize("count", [3, 40])
def test_both_forms_of_ridge_regression_solve_the_same_equation(count: int) -> None:
    rng = np.random.default_rng(3)
    rows, values = rng.standard_normal((count, 8)), rng.standard_normal((count, 2))
    found = ridge(rows.astype(np.float32), values.astype(np.float32))
    slope = rows.T @ (rows @ found - values) + RIDGE * found
    assert np.abs(slope).max() < 1e-4


def test_chance_is_told_from_skill() -> None:
    assert at_least(7, 8, 0.5) == pytest.approx(9 / 256)
    assert at_least(0, 5, 0.3) == pytest.approx(1)
    others = np.arange(40.0, dtype=np.float32)
    assert is_ranked_high(np.array([38.5, 39.5, 35.5], np.float32), others)
    assert not is_ranked_high(np.array([38.5, 20.5, 5.5], np.float32), others)
    assert not is_ranked_high(others[:3], others[:0])
