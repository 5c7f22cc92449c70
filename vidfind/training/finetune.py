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
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput, BadPairs
from vidfind.models.adapter_file import Adapter, AdapterInfo, learned_words, write_adapter
from vidfind.models.saved_adapters import SavedAdapter, check_free, saved_adapter
from vidfind.text.tokenizer import LEARNED
from vidfind.training.captions import BadLine
from vidfind.training.features import CAPTION_TOKENS, CAPTIONS_A_CHUNK, VARIANTS, Features
from vidfind.training.optimize import backward_in_chunks, contrastive_loss, make_optimizer
from vidfind.training.pairs import Pair, false_negative_mask, split_pairs, warn_of_long
from vidfind.training.recall import Judged, Retrieval, WordMarks, clearly_rose, judge_held_out, mark_word
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_STEPS, Recipe, is_frozen, kind_of
from vidfind.training.trainable import can_learn_words, first_rows, may_be_words, new_words, prepare, teach
from vidfind.words.naming import NewWord, check_words, has_word

log = logging.getLogger(__name__)
MAX_SCALE = 100.0  # of the logits, as CLIP's own training holds it
MAX_NORM = 1.0  # of all gradients together
VALIDATIONS = 6  # times that the held-out pairs are judged in the course of a training
POOL = 100  # pairs that held-out ones are told from
FRESH = 1 / 3  # share of the clips of few pairs that is computed at a step
FEWEST_FRESH = 12
PATIENCE = 4  # validations without a better one, after which it stops


@dataclass(frozen=True)
class Decoded:
    """How many of the clips are decoded."""

    done: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """A step of the optimizer. `seconds_left` counts on all steps being made."""

    step: int
    steps: int
    loss: float
    seconds_left: float


@dataclass(frozen=True)
class Validated:
    """The held-out pairs judged after `step` steps; `is_best` if never better before."""

    step: int
    loss: float
    retrieval: Retrieval
    is_best: bool


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
        warn_of_long([pair.caption for pair in pairs], encoder.tokenizer, CAPTION_TOKENS)
        self.before: Retrieval | None = None
        """The held-out pairs judged before the first step."""
        self.after: Retrieval | None = None
        """The same of the best state so far."""
        self.is_better = False
        """Whether clearly more of the held-out captions find their video first in that state: see `clearly_rose`."""
        self.marks: dict[str, WordMarks] = {}
        """How the held-out captions with each learned word do in that state."""
        self._first: np.ndarray | None = None  # (C,) whether each found its video before
        torch.manual_seed(self.recipe.seed)
        self._rng = Random(self.recipe.seed)
        self.bad: list[BadLine] = []
        self._skip_bad = skip_bad
        self._asked = dict(words or {})
        check_words(self._asked, [pair.caption for pair in pairs])
        self._learns_words = can_learn_words(encoder) and not is_frozen(encoder)
        if self._asked and not self._learns_words:
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
        self._drift = self._most_drift = 0.0
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
        self._start = {name: p.detach().clone() for name, p in self._trained.items() if name != LEARNED}
        self._most_drift = self.recipe.max_drift * self._distance_between_clips()
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
            self._hold_back()
            yield Stepped(step, steps, loss, (time.monotonic() - began) / step * (steps - step))
            if step % math.ceil(steps / VALIDATIONS) == 0 or step == steps:
                validated = self._validate(step)
                yield validated
                since_best = 0 if validated.is_best else since_best + 1
                if since_best == PATIENCE and self.recipe.epochs is None:
                    log.info("no better for %d validations: stopped at step %d of %d", PATIENCE, step, steps)
                    return

    def _distance_between_clips(self) -> float:
        """The mean of 1 - cosine between the training clips, as they were before training."""
        numbers = list(dict.fromkeys(map(self._features.of, self.training)))[:POOL]
        vectors = F.normalize(self._features.of_clips(numbers, self._before), dim=-1)
        count = len(vectors)
        return float((1 - vectors @ vectors.T).sum()) / max(1, count * (count - 1))

    def _find_words(self) -> list[NewWord]:
        """Returns the words to be learned. Holds out some of the captions of each, to tell whether it was."""
        everything = [*self.training, *self.held_out]
        may_be_new = [*self._asked, *may_be_words([pair.caption for pair in everything], self.encoder)]
        self.training, self.held_out = split_pairs(everything, self.recipe.val, self.recipe.seed, may_be_new)
        clips = self._features.of_clips([self._features.of(pair) for pair in self.training], self._before)
        captions = [pair.caption for pair in self.training]
        return new_words(captions, F.normalize(clips, dim=-1), self.encoder, self._asked, self.words)

    def _learn(self, found: Sequence[NewWord]) -> None:
        """Gives the words that were found their place among the tokens, where each means its noun."""
        if not found:
            return
        log.info("new words: %s", ", ".join(f"{word.text} ({word.noun})" for word in found))
        rows = [first_rows(self.encoder, word.noun) for word in found]
        captions = [pair.caption for pair in self.training]
        self.words |= {
            word.text: {
                "noun": word.noun,
                "tokens": len(own),
                "captions": sum(has_word(caption, word.text) for caption in captions),
            }
            for word, own in zip(found, rows, strict=True)
        }
        known = [self._trained[LEARNED].detach()] if LEARNED in self._trained else []
        together, learned = torch.cat([*known, *rows]), learned_words(self.words)
        teach(self._before, learned, together)
        self._trained[LEARNED] = teach(self.encoder, learned, together)

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
        fresh, stale = self._split_batch(batch)
        everything, features = [*fresh, *stale], self._features
        captions = [pair.caption for pair in everything]
        ids = torch.split(features.token_ids(captions), CAPTIONS_A_CHUNK)
        mask = false_negative_mask(everything)
        variants = [self._rng.randrange(VARIANTS) for _ in fresh]
        clips, old = features.varied(fresh, variants), features.last(stale)
        while True:
            try:
                before = [features.varied_before(fresh, variants, clips), features.text_before(captions)]
                return backward_in_chunks(
                    [partial(features.video, self.encoder, part) for part in torch.split(clips, features.part)],
                    [partial(features.text, self.encoder, part) for part in ids],
                    partial(self._loss_and_change, fresh=fresh, old=old, false_negatives=mask, before=before),
                    list(self._trained.values()),
                    features.lanes,
                    keep=len(fresh) <= features.chunk,
                ).item()
            except torch.OutOfMemoryError as error:
                for parameter in self._trained.values():
                    parameter.grad = None
                features.use_less_memory(error)

    @torch.no_grad()
    def _hold_back(self) -> None:
        """Takes what is trained a part of the way back to where it started, if clips have moved too far from it.

        Vectors of clips without new words may move by the share `max_drift` of the distance between clips: what the
        model knew of other videos gets lost with more. Half the way back (as WiSE-FT goes afterwards: Wortsman et al.,
        CVPR 2022) leaves about a quarter of the change of vectors."""
        if self.recipe.text_only or self._drift <= self._most_drift:
            return
        share = math.sqrt(self._most_drift / self._drift)
        for name, start in self._start.items():
            self._trained[name].lerp_(start, 1 - share)

    def _split_batch(self, batch: Sequence[Pair]) -> tuple[Sequence[Pair], Sequence[Pair]]:
        """The pairs whose clips are computed at this step, and those that are as they were last."""
        repeats = self.recipe.epochs is None and len(batch) == len(self.training) and not self.recipe.text_only
        count = max(FEWEST_FRESH, round(len(batch) * FRESH)) if repeats else len(batch)
        return batch[:count], batch[count:]

    def adapter(self, name: str, digest: str = "") -> Adapter | None:
        """The best state so far, to be saved as `name`; None before the first validation. `digest`: of the pairs."""
        if not self.before or not self.after:
            return None
        identity, recipe = self.encoder.identity, self.recipe
        rank = next((len(parameter) for name, parameter in self._trained.items() if name.endswith("lora_a")), 0)
        info = AdapterInfo(
            name=name,
            model=identity.model,
            pretrained=identity.pretrained,
            weights_digest=identity.weights_digest,
            encoder=identity.encoder,
            num_frames=identity.num_frames,
            kind=kind_of(self.encoder, recipe),
            rank=rank,
            pairs_digest=digest,
            num_pairs=len(self.training),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            metrics={
                "before": self.before.as_dict(),
                "after": self.after.as_dict(),
                "pairs": len(self.held_out),
            },
            words={word: {**facts, **self._marks_of(word)} for word, facts in self.words.items()},
            reading=identity.reading,
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

    def _marks_of(self, word: str) -> dict[str, Any]:
        """The facts about a word that the adapter keeps."""
        marks = self.marks.get(word)
        if marks is None or not marks.count:
            return {}
        return {"held_out": marks.count, "before": marks.before, "after": marks.after, "verdict": marks.verdict}

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
        return contrastive_loss(video.float(), text.float(), self._scale, false_negatives)

    @property
    def _scale(self) -> Tensor:
        scale: Tensor = self.encoder.model.logit_scale.detach().exp().clamp(max=MAX_SCALE).float()
        return scale

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
        usual = torch.tensor([not any(has_word(pair.caption, word) for word in self.words) for pair in fresh])
        self._drift = float(moved[0].detach()[usual].mean()) if usual.any() else 0.0
        everything = torch.cat([video, torch.stack(list(old)).to(video.dtype)]) if old else video
        loss = self._loss(everything, text, false_negatives)
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
        numbers = list(dict.fromkeys(self._features.of(pair) for pair in pairs))
        own = [numbers.index(self._features.of(pair)) for pair in pairs]  # the clip of each pair
        clips = F.normalize(self._features.of_clips(numbers, encoder), dim=-1)
        mask = false_negative_mask(pairs).numpy()
        right = np.zeros((len(pairs), len(numbers)), bool)
        for column, number in enumerate(own):
            right[:, number] |= mask[:, column]

        def similarity(captions: Sequence[str]) -> np.ndarray:
            found: np.ndarray = (self._features.text_vectors(encoder, captions) @ clips.T).cpu().numpy()
            return found

        captions = [pair.caption for pair in pairs]
        return judge_held_out(
            similarity, captions, right, count, len(set(own[:count])), list(self.words), float(self._scale)
        )

    def _remember_best(self, judged: Judged) -> bool:
        """Keeps the trained parameters if no earlier state was better, and returns whether they were kept."""
        # Not by the recall: of few captions, it changes by chance.
        key = -judged.loss
        if key <= self._best_key:
            return False
        assert self._first is not None
        self.is_better = clearly_rose(self._first, judged.first)
        self.marks = {
            word: mark_word(self._first[places], judged.first[places], gains)
            for word, (places, gains) in judged.words.items()
        }
        best = {name: tensor.detach().cpu().clone() for name, tensor in self._trained.items()}
        # Last what makes it count: Ctrl-C may strike.
        self._best, self._best_key, self.after = best, key, judged.retrieval
        return True
