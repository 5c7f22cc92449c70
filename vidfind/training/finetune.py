"""The fine-tuning pipeline: pairs of a clip and a caption teach an encoder its owner's words.

The method is TempMe's (Shen et al., ICLR 2025), for every encoder alike: LoRA on the attention of both towers, and what
the encoder adds beside the model, trained with symmetric InfoNCE; with `full`, all of CLIP's weights in place of LoRA.
An encoder that leaves CLIP frozen trains only what it adds. Is handed its encoder, whose model it changes; never
prints. Letters: B pairs a batch, T frames a clip, S pixels, D embedding size.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, BadPairs
from vidfind.models.adapter_file import Adapter, learned_words, write_adapter
from vidfind.models.saved_adapters import SavedAdapter, check_free, saved_adapter
from vidfind.text.tokenizer import DIRECTIONS, LEARNED
from vidfind.towers.text import tokens_present
from vidfind.training.adopt import describe
from vidfind.training.captions import BadLine
from vidfind.training.clips import Decoded
from vidfind.training.features import VARIANTS, Features, caption_tokens, scale_of
from vidfind.training.optimize import (
    Stepped,
    backward_in_chunks,
    contrastive_loss,
    fit_directions,
    hold_back,
    make_optimizer,
)
from vidfind.training.pairs import Pair, false_negative_mask, right_clips, split_pairs, warn_of_long
from vidfind.training.recall import Firsts, Judged, Retrieval, Validated, WordMarks, judge_held_out
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_STEPS, Recipe, is_frozen, kind_of
from vidfind.training.trainable import (
    TOKENS,
    can_learn_words,
    facts_of,
    first_rows,
    may_be_words,
    new_words,
    pairs_to_fit,
    prepare,
    teach,
)
from vidfind.words.naming import NewWord, check_words, has_any

log = logging.getLogger(__name__)
MAX_NORM = 1.0  # of all gradients together
VALIDATIONS = 6  # times that the held-out pairs are judged in the course of a training
POOL = 100  # pairs that held-out ones are told from
PATIENCE = 4  # validations without a better one, after which it stops

Event = Decoded | Stepped | Validated


class FineTuning:
    """A training: what is trained, what is held out, and the best state so far, whenever it is stopped.

    >>> from vidfind import FineTuning, Recipe, load_encoder, read_pairs
    >>> pairs, bad_lines = read_pairs("captions.csv")
    >>> encoder = load_encoder("tiny", dtype="float32")
    >>> with FineTuning(pairs, encoder, Recipe(epochs=1)) as training:
    ...     for event in training.run():
    ...         pass  # Decoded, Stepped and Validated tell how it goes
    ...     saved = training.save("rex")
    >>> encoder = load_encoder(adapter="rex")

    Training changes the model of `encoder`: load it anew with the adapter to use the result.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        encoder: Encoder,
        recipe: Recipe | None = None,
        start: Adapter | None = None,
        autocast: bool = False,
        skip_bad: bool = False,
        words: Mapping[str, str] | None = None,
    ) -> None:
        """`start`: an adapter to go on from, not yet in the encoder. `autocast`: multiply in bfloat16. `skip_bad`: do
        without moments that cannot be decoded; they are in `bad` after the decoding. `words`: words to teach, each with
        a known noun for its kind, or "" for the one that fits best; words that the model cannot place are added.

        Raises BadInput for pairs that nothing can be learned from, and for a word that no caption has; UnsupportedModel
        for a text tower of another kind.
        """
        self.recipe = recipe or Recipe()
        self.encoder = encoder
        self.training, self.held_out = split_pairs(pairs, self.recipe.val, self.recipe.seed)
        warn_of_long([pair.caption for pair in pairs], encoder.tokenizer, caption_tokens(encoder))
        self.before: Retrieval | None = None
        """The held-out pairs judged before the first step."""
        self.after: Retrieval | None = None
        """The same of the best state so far."""
        self.is_better = False
        """Whether clearly more of the held-out captions find their video first in that state: see `clearly_rose`."""
        self.marks: dict[str, WordMarks] = {}
        """How the held-out captions with each learned word do in that state."""
        self.rest = Firsts(0, 0, 0)
        """The same of the held-out captions without a learned word."""
        self._first: np.ndarray | None = None  # (C,) whether each found its video before
        torch.manual_seed(self.recipe.seed)
        self._rng = Random(self.recipe.seed)
        self.bad: list[BadLine] = []
        self._skip_bad = skip_bad
        self.nouns = dict(words or {})
        """The words that the user asks for, each with the noun that it is to begin as, or ""."""
        check_words(self.nouns, [pair.caption for pair in pairs])
        self._learns_words = can_learn_words(encoder) and not is_frozen(encoder)
        if self.nouns and not self._learns_words:
            raise BadInput(
                f"{encoder.identity.model} with {encoder.identity.encoder} cannot be taught words: leave out --word."
            )
        self.words: dict[str, dict[str, Any]] = dict(start.info.words) if start and start.info else {}
        """The learned words, with the facts that the adapter keeps: see `AdapterInfo.words`."""
        self._trained, self._kept = prepare(encoder, self.recipe, start)
        # What has learned nothing yet is compared with plain CLIP, which it leaves as it is.
        self._before = (encoder.with_encoder("mean") if is_frozen(encoder) else encoder).copy()
        segments = dict.fromkeys((pair.path, pair.segment) for pair in [*self.training, *self.held_out])
        self._features = Features(encoder, self._before, list(segments), self.recipe, autocast)
        self._start: dict[str, Tensor] = {}
        self._drift, self._most_drift = 0.0, math.inf
        self._best: dict[str, Tensor] = {}
        self._best_key = -math.inf

    def __enter__(self) -> FineTuning:
        return self

    def __exit__(self, *_: object) -> None:
        self._features.clips.close()

    def run(self) -> Generator[Event, None, None]:
        """Decodes all clips and trains. Stop it at any time: what was best so far is kept.

        Raises BadPairs, with all of them, when clips cannot be decoded, and BadInput for a noun that the model does not
        know."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # of each lane
        try:
            yield from self._run()
        finally:
            torch.set_num_threads(threads)

    def _run(self) -> Generator[Event, None, None]:
        yield from self._decode()
        found = self._find_words() if self._learns_words else []
        batches = max(1, round(len(self.training) / self.recipe.batch_size))  # an epoch
        steps = batches * (self.recipe.epochs or max(FEWEST_EPOCHS, math.ceil(FEWEST_STEPS / batches)))
        yield self._validate(0)
        self._learn(found)
        self._fit_words(self._before)
        self._start = {name: p.detach().clone() for name, p in self._trained.items() if name not in TOKENS}
        if not self.recipe.text_only:
            self._most_drift = self.recipe.max_drift * self._features.distance_between(self.training)
        yield from self._train(batches, steps)
        if self.words and self._best and not self.recipe.text_only:
            self._restore_best()
            self._fit_words(self.encoder)
            yield self._validate(steps)

    def _train(self, batches: int, steps: int) -> Iterator[Event]:
        optimizer = make_optimizer(self._trained, self.recipe, steps)
        since_best = 0
        began = time.monotonic()
        for step in range(1, steps + 1):
            if step % batches == 1 % batches:
                order = self._rng.sample(self.training, len(self.training))
            place = (step - 1) % batches
            batch = order[place * len(order) // batches : (place + 1) * len(order) // batches]
            loss = self.backward(batch)
            nn.utils.clip_grad_norm_(self._trained.values(), MAX_NORM)
            optimizer.step()
            hold_back(self._trained, self._start, self._drift, self._most_drift)
            yield Stepped(step, steps, loss, (time.monotonic() - began) / step * (steps - step))
            if step % math.ceil(steps / VALIDATIONS) == 0 or step == steps:
                validated = self._validate(step)
                yield validated
                since_best = 0 if validated.is_best else since_best + 1
                if since_best == PATIENCE and self.recipe.epochs is None:
                    log.info("no better for %d validations: stopped at step %d of %d", PATIENCE, step, steps)
                    return

    def _find_words(self) -> list[NewWord]:
        """Returns the words to be learned. Holds out some of the captions of each, to tell whether it was."""
        everything = [*self.training, *self.held_out]
        may_be_new = [*self.nouns, *may_be_words([pair.caption for pair in everything], self.encoder)]
        self.training, self.held_out = split_pairs(everything, self.recipe.val, self.recipe.seed, may_be_new)
        clips = self._features.of_clips(list(map(self._features.of, self.training)), self._before)
        return new_words(
            [pair.caption for pair in self.training], F.normalize(clips, dim=-1), self.encoder, self.nouns, self.words
        )

    def _learn(self, found: Sequence[NewWord]) -> None:
        """Gives the words that were found their place among the tokens, where each means its noun."""
        if not found:
            return
        log.info("new words: %s", ", ".join(f"{word.text} ({word.noun})" for word in found))
        self.words |= facts_of(found, [pair.caption for pair in self.training])
        known = [self._trained[LEARNED].detach()] if LEARNED in self._trained else []
        rows = torch.cat([*known, *(first_rows(self.encoder, word.noun) for word in found)])
        learned, directions = learned_words(self.words), rows.new_zeros(len(rows), self.encoder.dim)
        teach(self._before, learned, rows, directions)
        self._trained |= teach(self.encoder, learned, rows, directions)

    def _fit_words(self, encoder: Encoder) -> None:
        """Finds the directions of the learned words anew, by the vectors that `encoder` gives clips.

        The encoder before training reads the words alike from then on: what they mean now is what training holds them
        to."""
        pairs = pairs_to_fit(self.training, list(self.words), self.recipe.seed)
        if not pairs or DIRECTIONS not in self._trained:
            return
        features, captions = self._features, [pair.caption for pair in pairs]
        rows, directions = (self._trained[name] for name in TOKENS)
        with torch.no_grad():
            directions.zero_()
        clips = features.of_clips([features.of(pair) for pair in pairs], encoder)
        present = tokens_present(features.token_ids(captions), len(rows)).float()
        text, mask = features.text_vectors(self.encoder, captions), false_negative_mask(pairs)
        found = fit_directions(clips, text, present, partial(self._loss, false_negatives=mask))
        with torch.no_grad():
            directions.copy_(found)
        teach(self._before, learned_words(self.words), rows.detach().clone(), found)

    @torch.no_grad()
    def _restore_best(self) -> None:
        """Takes the trained parameters back to the best state so far."""
        for name, tensor in self._best.items():
            self._trained[name].copy_(tensor)

    @property
    def _alone(self) -> list[str]:
        """The learned words as they stand alone in a search."""
        return [form.format(word) for word in self.words for form in ("a {}", "{}")]

    @property
    def is_worse(self) -> bool:
        """Whether the held-out pairs are found worse than before training, in the best state so far."""
        return bool(self.before and self.after and self.after.r_sum < self.before.r_sum)

    @property
    def pool(self) -> list[Pair]:
        """The held-out pairs, and the pairs from training that they are to be told from."""
        return [*self.held_out, *self.training[: max(0, POOL - len(self.held_out))]]

    def backward(self, batch: Sequence[Pair]) -> float:
        """The loss of a batch; its gradients are added to the trained parameters.

        Where few pairs are repeated often, a part of the clips is computed at each step, and the others are contrasted
        as they were last (cross-batch memory: Wang et al., CVPR 2020): they hardly move from step to step."""
        features = self._features
        fresh, stale = features.split_batch(batch, self.recipe.epochs is None and len(batch) == len(self.training))
        everything = [*fresh, *stale]
        captions = [pair.caption for pair in everything]
        texts = [*captions, *self._alone]
        mask = false_negative_mask(everything)
        variants = [self._rng.randrange(VARIANTS) for _ in fresh]
        clips, old = features.varied(fresh, variants), features.last(stale)
        while True:
            try:
                before = [features.varied_before(fresh, variants, clips), features.text_before(texts)]
                return backward_in_chunks(
                    [partial(features.video, self.encoder, part) for part in torch.split(clips, features.part)],
                    features.text_chunks(texts),
                    partial(self._loss_and_change, fresh=fresh, old=old, false_negatives=mask, before=before),
                    list(self._trained.values()),
                    features.lanes,
                    features.room(),
                ).item()
            except torch.OutOfMemoryError as error:
                for parameter in self._trained.values():
                    parameter.grad = None
                features.use_less_memory(error)

    def adapter(self, name: str, digest: str = "") -> Adapter | None:
        """The best state so far, to be saved as `name`; None before the first validation. `digest`: of the pairs."""
        if not self.before or not self.after:
            return None
        info = describe(
            name,
            self.encoder.identity,
            kind_of(self.encoder, self.recipe),
            self._trained,
            digest,
            {"before": self.before.as_dict(), "after": self.after.as_dict(), "pairs": len(self.held_out)},
            {
                word: {**facts, **(self.marks[word].as_dict() if word in self.marks else {})}
                for word, facts in self.words.items()
            },
            len(self.training),
        )
        return Adapter({**self._kept, **self._best}, info)

    def save(self, name: str, force: bool = False) -> SavedAdapter:
        """Saves the best state so far as the adapter `name`, in place of one of that name only with `force`.

        Raises BadInput for a name that is taken or cannot be one, and before the first step; StorageError."""
        adapter = self.adapter(name)
        if adapter is None:
            raise BadInput("Nothing has been learned yet: let the training run first.")
        write_adapter(check_free(name, force), adapter)
        return saved_adapter(name)

    def _decode(self) -> Iterator[Decoded]:
        bad: dict[int, str] = {}
        for done, (number, reason) in enumerate(self._features.clips.fill(), start=1):
            if reason:
                bad[number] = reason
            yield Decoded(done, len(self._features.clips))
        if not bad:
            return
        everything = [*self.training, *self.held_out]
        numbered = [(pair, self._features.of(pair)) for pair in everything]
        self.bad = [BadLine(pair.line, f"{pair.path} {bad[number]}") for pair, number in numbered if number in bad]
        if not self._skip_bad:
            raise BadPairs(f"{len(self.bad)} moments cannot be decoded. To go on without: add --skip-bad", self.bad)
        good = [pair for pair in everything if self._features.of(pair) not in bad]
        self.training, self.held_out = split_pairs(good, self.recipe.val, self.recipe.seed)

    def _loss(self, video: Tensor, text: Tensor, false_negatives: Tensor) -> Tensor:
        return contrastive_loss(video.float(), text.float(), scale_of(self.encoder), false_negatives)

    def _loss_and_change(
        self,
        video: Tensor,
        text: Tensor,
        fresh: Sequence[Pair],
        old: Sequence[Tensor],
        false_negatives: Tensor,
        before: Sequence[Tensor],
    ) -> Tensor:
        """The contrastive loss, and by how much features (B, D) have moved from what they were before training.

        `video` are the features of the `fresh` pairs, `old` those of the others."""
        self._features.note(fresh, video)
        moved = [1 - F.cosine_similarity(a.float(), b.float()) for a, b in zip((video, text), before, strict=True)]
        usual = torch.tensor([not has_any(pair.caption, self.words) for pair in fresh])
        self._drift = float(moved[0].detach()[usual].mean()) if usual.any() else 0.0
        everything = torch.cat([video, torch.stack(list(old)).to(video.dtype)]) if old else video
        loss = self._loss(everything, text[: len(everything)], false_negatives)
        return loss + self.recipe.distill_weight * (moved[0].mean() + moved[1].mean()) / 2

    def _validate(self, step: int) -> Validated:
        """Judges the held-out pairs, and keeps the state if it is the best of those after the first step."""
        judged = self._judge_held_out(self.encoder if step else self._before)
        is_best = step > 0 and self._remember_best(judged)
        if step == 0:
            self.before, self._first = judged.retrieval, judged.first
        log.info("step %d: held-out loss %.3f, R-Sum %.1f", step, judged.loss, judged.retrieval.r_sum)
        return Validated(step, judged.loss, judged.retrieval, is_best)

    def _judge_held_out(self, encoder: Encoder) -> Judged:
        """How well the held-out pairs are found with `encoder`.

        A few clips are soon told apart: they are to be found among up to POOL pairs, the others from training."""
        pairs, count = self.pool, len(self.held_out)
        numbered = list(map(self._features.of, pairs))
        numbers = list(dict.fromkeys(numbered))
        own = list(map(numbers.index, numbered))  # the clip of each pair
        clips = F.normalize(self._features.of_clips(numbers, encoder), dim=-1)
        right = right_clips(pairs, own)

        def similarity(captions: Sequence[str]) -> np.ndarray:
            found: np.ndarray = (self._features.text_vectors(encoder, captions) @ clips.T).cpu().numpy()
            return found

        scale, clips_held_out = float(scale_of(self.encoder)), len(set(own[:count]))
        captions = [pair.caption for pair in pairs]
        return judge_held_out(similarity, captions, right, count, clips_held_out, list(self.words), scale)

    def _remember_best(self, judged: Judged) -> bool:
        """Keeps the trained parameters if no earlier state was better, and returns whether they were kept."""
        key = -judged.loss  # not the recall: of few captions, it changes by chance
        if key <= self._best_key:
            return False
        assert self._first is not None
        self.is_better, self.rest, self.marks = judged.since(self._first)
        best = {name: tensor.detach().cpu().clone() for name, tensor in self._trained.items()}
        self._best, self._best_key, self.after = best, key, judged.retrieval  # last: Ctrl-C may strike
        return True
