"""Classes are learned by tuning prompts, with the text tower of the built-in model."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from vidfind.categories.softcpt import VARIANTS
from vidfind.categories.tasks import ClassExamples, Task
from vidfind.categories.token_prompts import Tower, fit_reference, fit_tokens, make_tower
from vidfind.encoders.encoder import Encoder
from vidfind.errors import Unusable
from vidfind.tagging.learning.vectors import unit
from vidfind.text.tokenizer import learned_ids
from vidfind.training.trainable import first_rows, teach

TASKS = [Task("shape", ("circle", "star"), ("", "")), Task("colour", ("blue", "red"), ("", "the colour of blood"))]


@pytest.fixture(scope="module")
def tower(tiny_encoder: Encoder) -> Tower:
    return make_tower(tiny_encoder)


@pytest.fixture(scope="module")
def examples(tiny_encoder: Encoder) -> ClassExamples:
    """Two videos of a segment of each class, with a look that its text does not have, and two of anything."""
    rng = np.random.default_rng(0)
    looks = unit(rng.standard_normal((4, tiny_encoder.dim)))
    plain = unit(np.concatenate([looks.repeat(2, axis=0), rng.standard_normal((2, tiny_encoder.dim))]))
    states = np.concatenate([np.eye(4, dtype=np.int8).repeat(2, axis=0), np.zeros((2, 4), np.int8)])
    answered = np.concatenate([np.repeat([[True, False], [False, True]], 4, axis=0), np.zeros((2, 2), bool)])
    return ClassExamples(plain, plain, np.arange(11), states, answered, np.arange(10))


def test_training_starts_at_plain_clip(tower: Tower, examples: ClassExamples, tiny_encoder: Encoder) -> None:
    none = np.ones(tiny_encoder.dim, np.float32)
    heads, steps = fit_tokens(tower, examples, TASKS, none, steps=0)
    words = ["circle", "star", "blue", "the colour of blood"]
    texts = tiny_encoder.encode_text([f"a video of a {word}." for word in words])
    assert steps == 0
    assert heads.plain is not None
    np.testing.assert_allclose(heads.plain[:4] / tower.scale, texts, atol=1e-4)
    np.testing.assert_allclose(heads.plain[4] / tower.scale, none / np.linalg.norm(none), atol=1e-6)


def test_a_learned_word_means_in_a_prompt_what_it_means_in_a_search(
    examples: ClassExamples, tiny_encoder: Encoder
) -> None:
    taught = tiny_encoder.copy()
    direction = torch.randn(1, taught.dim, generator=torch.Generator().manual_seed(0))
    teach(taught, learned_ids({"zorp": 1}), first_rows(taught, "star"), direction)
    tasks = [Task("shape", ("circle", "zorp"), ("", "")), Task("kind", ("dog", "rex"), ("", "a zorp"))]
    tower = make_tower(taught)
    heads, _ = fit_tokens(tower, examples, tasks, np.ones(taught.dim, np.float32), steps=0)
    assert heads.plain is not None
    texts = taught.encode_text([f"a video of a {word}." for word in ("circle", "zorp", "dog", "a zorp")])
    np.testing.assert_allclose(heads.plain[:4] / tower.scale, texts, atol=1e-4)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "each task alone"])
def test_training_draws_prompts_to_their_examples(is_shared: bool, tower: Tower, examples: ClassExamples) -> None:
    none = np.ones(examples.plain.shape[1], np.float32)

    def share(steps: int) -> float:
        heads, done = fit_tokens(tower, examples, TASKS, none, steps=steps, is_shared=is_shared)
        assert done == steps
        logits = torch.tensor(heads.pooled(examples)[:8])
        return float(sum(logits[rows][:, cols].softmax(1)[[0, 1, 2, 3], [0, 0, 1, 1]].mean() for rows, cols in PARTS))

    assert share(8) > share(0)


PARTS = ((slice(0, 4), slice(0, 2)), (slice(4, 8), slice(2, 4)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_form_trains_in_each_variant(variant: str, tower: Tower, examples: ClassExamples) -> None:
    none = np.ones(examples.plain.shape[1], np.float32)
    heads, done = fit_reference(tower, examples, TASKS, none, variant=variant, epochs=2)
    again, _ = fit_reference(tower, examples, TASKS, none, variant=variant, epochs=2)
    assert done == 2
    assert heads.plain is not None
    assert again.plain is not None
    assert heads.plain.shape == (6, examples.plain.shape[1])
    assert np.isfinite(heads.plain).all()
    assert heads.plain.tobytes() == again.plain.tobytes()


def test_training_ends_when_the_time_is_over(tower: Tower, examples: ClassExamples) -> None:
    none = np.ones(examples.plain.shape[1], np.float32)
    for fit in (fit_tokens, fit_reference):
        assert fit(tower, examples, TASKS, none, deadline=time.monotonic())[1] == 0


def test_a_name_that_is_too_long_is_refused(tower: Tower, examples: ClassExamples) -> None:
    long = [Task("shape", ("circle " * 75,), ("",))]
    with pytest.raises(Unusable, match="reads 77 tokens"):
        fit_tokens(tower, examples, long, np.ones(examples.plain.shape[1], np.float32))
