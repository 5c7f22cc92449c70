"""Tries out how good tuned prompts are, and tunes them for good. Imports PyTorch only where prompts are tuned."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vidfind.categories.judging import TOKEN, held_out_logits, mean_accuracy, task_accuracies
from vidfind.categories.tasks import ClassExamples, Heads, Learning, Numbers, Task, Texts, Vectors
from vidfind.errors import Unusable
from vidfind.tagging.learning.vectors import prototypes

if TYPE_CHECKING:
    from vidfind.categories.token_prompts import Tower
    from vidfind.encoders.encoder import Encoder

MIXES = (0.0, 0.5, 1.0, 2.0)
"""How much the mean look of examples counts beside tuned prompts."""
MOST_TOKEN_CLASSES = 30
"""With more, tuning prompts takes too long to be tried unasked."""
LoadEncoder = Callable[[], "Encoder"]


class Tuning:
    """Prompts that are tuned twice: without some examples, to see how good they are, and with all."""

    def __init__(
        self,
        tower: Tower,
        examples: ClassExamples,
        tasks: Sequence[Task],
        texts: Texts,
        asked: Learning,
        deadline: float,
    ) -> None:
        self._tower, self._examples, self._tasks, self._texts = tower, examples, tasks, texts
        self._asked, self._deadline = asked, deadline
        self._mix = 0.0
        self.steps = 0
        """How many steps the last training took."""
        self.most_steps = 0

    @classmethod
    def within(
        cls,
        load_encoder: LoadEncoder,
        examples: ClassExamples,
        tasks: Sequence[Task],
        texts: Texts,
        asked: Learning,
        deadline: float,
    ) -> Tuning | None:
        """Returns what tunes prompts; None where it was not asked for and would take too long, or cannot be done."""
        if asked.mode != TOKEN and examples.states.shape[1] > MOST_TOKEN_CLASSES:
            return None
        from vidfind.categories.token_prompts import STEPS, make_tower

        try:
            tuning = cls(make_tower(load_encoder()), examples, tasks, texts, asked, deadline)
        except Unusable:
            if asked.mode == TOKEN:
                raise
            return None
        if asked.mode == TOKEN:
            return tuning
        began = time.monotonic()
        tuning._train(examples, deadline, steps=1)
        took = time.monotonic() - began
        return tuning if 2 * STEPS * took <= asked.max_seconds / 2 else None

    def _train(self, some: ClassExamples, deadline: float, steps: int | None = None) -> Heads:
        from vidfind.categories import softcpt, token_prompts

        none = self._texts.shift
        if self._asked.is_reference:
            batches = math.ceil((some.states > 0).any(axis=1).sum() / softcpt.BATCH)
            self.most_steps = softcpt.EPOCHS * batches
            heads, self.steps = token_prompts.fit_reference(
                self._tower, some, self._tasks, none, self._asked.seed, deadline
            )
        else:
            self.most_steps = steps or token_prompts.STEPS
            heads, self.steps = token_prompts.fit_tokens(
                self._tower, some, self._tasks, none, self._asked.seed, deadline, self.most_steps
            )
        return heads

    def _mixed(self, heads: Heads, some: ClassExamples, mix: float) -> Heads:
        looks = prototypes(some.vectors, some.starts, some.states > 0, self._texts.centred)
        centred = heads.centred.copy()
        centred[: len(looks)] += mix * self._tower.scale * looks
        return dataclasses.replace(heads, centred=centred)

    def try_out(self, folds: Numbers) -> Vectors:
        """Returns the logits (B, C + T) of the bags in fold 1, tuned without them; NaN for others."""
        some = self._examples.without(folds == 1)
        now = time.monotonic()
        heads = self._train(some, now + (self._deadline - now) / 2)
        mixes = (0.0,) if self._asked.is_reference else MIXES
        found = {}
        for mix in mixes:
            mixed = self._mixed(heads, some, mix)
            found[mix] = held_out_logits(lambda _, mixed=mixed: mixed, self._examples, folds, [1])  # type: ignore[misc]
        scores = {mix: mean_accuracy(task_accuracies(one, self._examples, self._tasks)) for mix, one in found.items()}
        self._mix = max(mixes, key=lambda mix: (scores[mix], -mix))
        return found[self._mix]

    def final(self) -> Heads:
        """Returns the heads that are tuned with all examples."""
        return self._mixed(self._train(self._examples, self._deadline), self._examples, self._mix)
