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
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from vidfind.models.adapter_file import Adapter, AdapterInfo, write_adapter
from vidfind.models.saved_adapters import SavedAdapter, check_free, saved_adapter
from vidfind.precision.formats import fastest_float
from vidfind.training.augment import augment
from vidfind.training.captions import BadLine
from vidfind.training.clip_cache import ClipCache
from vidfind.training.optimize import backward_in_chunks, contrastive_loss, make_optimizer
from vidfind.training.pairs import Pair, false_negative_mask, split_pairs, warn_of_long
from vidfind.training.recall import Retrieval, clearly_rose, ranks, recall_of
from vidfind.training.recipe import FEWEST_EPOCHS, FEWEST_STEPS, Recipe, is_frozen, kind_of
from vidfind.training.trainable import prepare

log = logging.getLogger(__name__)
CAPTION_TOKENS = 32  # captions are cut to so many in training, as in the paper
CAPTIONS_A_CHUNK = 32
MAX_SCALE = 100.0  # of the logits, as CLIP's own training holds it
MAX_NORM = 1.0  # of all gradients together
VALIDATIONS = 20  # times that the held-out pairs are judged in the course of a training
POOL = 100  # pairs that held-out ones are told from
PATIENCE = 6  # validations without a better one, after which it stops
CHUNK_BYTES = 3 * 10**9  # of activations, where the device does not tell how much room it has
ROOM_SHARE = 0.7  # of what a CUDA device has free


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
    ) -> None:
        """`start`: an adapter to go on from, not yet in the encoder. `autocast`: multiply in bfloat16. `skip_bad`: do
        without moments that cannot be decoded; they are in `bad` after the decoding.

        Raises BadInput for pairs that nothing can be learned from, UnsupportedModel for a text tower of another kind.
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
        self._first: np.ndarray | None = None  # (C,) whether each did before
        torch.manual_seed(self.recipe.seed)
        self._rng = Random(self.recipe.seed)
        self.bad: list[BadLine] = []
        self._skip_bad = skip_bad
        self._autocast = autocast
        self._trained, self._kept = prepare(encoder, self.recipe, start)
        # What has learned nothing yet is compared with plain CLIP, which it leaves as it is.
        self._before = (encoder.with_encoder("mean") if is_frozen(encoder) else encoder).copy()
        segments = dict.fromkeys((pair.path, pair.segment) for pair in [*self.training, *self.held_out])
        self._number = {segment: number for number, segment in enumerate(segments)}
        self._clips = ClipCache(list(segments), encoder.num_frames, encoder.image_size)
        self._chunk = max(1, activation_room(encoder.device) // activation_bytes(encoder, autocast))  # clips
        self._known: dict[int, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        self._best_key = (-math.inf, -math.inf)

    def __enter__(self) -> FineTuning:
        return self

    def __exit__(self, *_: object) -> None:
        self._clips.close()

    def run(self) -> Generator[Event, None, None]:
        """Decodes all clips and trains. Stop it at any time: what was best so far is kept.

        Raises BadPairs, with all of them, when clips cannot be decoded."""
        yield from self._decode()
        batches = max(1, round(len(self.training) / self.recipe.batch_size))  # an epoch
        steps = batches * (self.recipe.epochs or max(FEWEST_EPOCHS, math.ceil(FEWEST_STEPS / batches)))
        yield self._validate(0)
        optimizer, schedule = make_optimizer(self._trained, self.recipe, steps)
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
            optimizer.zero_grad()
            schedule.step()
            yield Stepped(step, steps, loss, (time.monotonic() - began) / step * (steps - step))
            if step % math.ceil(steps / VALIDATIONS) == 0 or step == steps:
                validated = self._validate(step)
                yield validated
                since_best = 0 if validated.is_best else since_best + 1
                if since_best == PATIENCE and self.recipe.epochs is None:
                    log.info("no better for %d validations: stopped at step %d of %d", PATIENCE, step, steps)
                    return

    @property
    def is_worse(self) -> bool:
        """Whether the held-out pairs are found worse than before training, in the best state so far."""
        return bool(self.before and self.after and self.after.r_sum < self.before.r_sum)

    @property
    def pool(self) -> list[Pair]:
        """The held-out pairs, and the pairs from training that they are to be told from."""
        return [*self.held_out, *self.training[: max(0, POOL - len(self.held_out))]]

    def backward(self, batch: Sequence[Pair]) -> float:
        """The loss of a batch; its gradients are added to the trained parameters."""
        ids = torch.split(self._token_ids(batch), CAPTIONS_A_CHUNK)
        clips = self._varied_clips(batch)
        mask = false_negative_mask(batch)
        while True:
            parts = torch.split(clips, self._chunk)
            try:
                with torch.no_grad():
                    before = [
                        torch.cat([self._video(self._before, part) for part in parts]),
                        torch.cat([self._text(self._before, part) for part in ids]),
                    ]
                return backward_in_chunks(
                    [partial(self._video, self.encoder, part) for part in parts],
                    [partial(self._text, self.encoder, part) for part in ids],
                    partial(self._loss_and_change, false_negatives=mask, before=before),
                ).item()
            except torch.OutOfMemoryError as error:
                for parameter in self._trained.values():
                    parameter.grad = None
                self._use_less_memory(error)

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
        for done, (number, reason) in enumerate(self._clips.fill(), start=1):
            if reason:
                bad[number] = reason
            yield Decoded(done, len(self._clips))
        if not bad:
            return
        everything = [*self.training, *self.held_out]
        self.bad = [
            BadLine(pair.line, f"{pair.path} {bad[number]}") for pair in everything if (number := self._of(pair)) in bad
        ]
        if not self._skip_bad:
            raise BadPairs(f"{len(self.bad)} moments cannot be decoded. To go on without: add --skip-bad", self.bad)
        good = [pair for pair in everything if self._of(pair) not in bad]
        self.training, self.held_out = split_pairs(good, self.recipe.val, self.recipe.seed)

    def _loss(self, video: Tensor, text: Tensor, false_negatives: Tensor) -> Tensor:
        scale = self.encoder.model.logit_scale.detach().exp().clamp(max=MAX_SCALE)
        return contrastive_loss(video.float(), text.float(), scale, false_negatives)

    def _loss_and_change(
        self, video: Tensor, text: Tensor, false_negatives: Tensor, before: Sequence[Tensor]
    ) -> Tensor:
        """The contrastive loss, and by how much features (B, D) have moved from what they were before training."""
        moved = [1 - F.cosine_similarity(a.float(), b.float()) for a, b in zip((video, text), before, strict=True)]
        return self._loss(video, text, false_negatives) + self.recipe.distill_weight * torch.cat(moved).mean()

    def _video(self, encoder: Encoder, clips: Tensor) -> Tensor:
        if self.recipe.text_only:  # they are features already
            return clips
        with self._number_format():
            return encoder.video_features(clips)

    def _text(self, encoder: Encoder, ids: Tensor) -> Tensor:
        with self._number_format():
            return encoder.text_features(ids)

    def _number_format(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.encoder.device.type, torch.bfloat16) if self._autocast else nullcontext()

    def _of(self, pair: Pair) -> int:
        """The number of a pair's clip."""
        return self._number[pair.path, pair.segment]

    def _clip(self, number: int) -> Tensor:
        return torch.from_numpy(self._clips[number]).to(self.encoder.device)

    def _varied_clips(self, batch: Sequence[Pair]) -> Tensor:
        """(B, T, S, S, 3); features (B, D) of the clips as they are where the video tower is not trained."""
        if self.recipe.text_only:
            return self._features([self._of(pair) for pair in batch])
        return torch.stack([augment(self._clip(self._of(pair)), pair.caption, self._rng) for pair in batch])

    @torch.no_grad()
    def _features(self, numbers: Sequence[int], encoder: Encoder | None = None) -> Tensor:
        """(b, D) of clips as they are; computed once where the video tower is not trained."""
        encoder = encoder or self.encoder
        known = self._known if self.recipe.text_only else {}
        for part in _parts([number for number in numbers if number not in known], self._chunk):
            with self._number_format():
                features = encoder.video_features(torch.stack([self._clip(number) for number in part]))
            known |= dict(zip(part, features.float(), strict=True))
        return torch.stack([known[number] for number in numbers])

    def _token_ids(self, pairs: Sequence[Pair]) -> Tensor:
        ids: Tensor = self.encoder.tokenizer([pair.caption for pair in pairs], context_length=CAPTION_TOKENS)
        return ids.to(self.encoder.device)

    def _validate(self, step: int) -> Validated:
        """Judges the held-out pairs, and keeps the state if it is the best of those after the first step."""
        retrieval, loss, first = self._rank_held_out(self.encoder if step else self._before)
        is_best = step > 0 and self._remember_best(retrieval, loss, first)
        if step == 0:
            self.before, self._first = retrieval, first
        log.info("step %d: held-out loss %.3f, R-Sum %.1f", step, loss, retrieval.r_sum)
        return Validated(step, loss, retrieval, is_best)

    @torch.no_grad()
    def _rank_held_out(self, encoder: Encoder) -> tuple[Retrieval, float, np.ndarray]:
        """How well the held-out pairs are found, with the clips encoded by `encoder`, and the loss of the pool; then
        (C,) whether each held-out caption finds its video first.

        A few clips are soon told apart: they are to be found among up to POOL pairs, the others from training."""
        pairs = self.pool
        numbers = list(dict.fromkeys(self._of(pair) for pair in pairs))
        own = [numbers.index(self._of(pair)) for pair in pairs]  # the clip of each pair
        video = F.normalize(self._features(numbers, encoder), dim=-1)
        ids = torch.split(self._token_ids(pairs), CAPTIONS_A_CHUNK)
        text = F.normalize(torch.cat([self._text(self.encoder, part).float() for part in ids]), dim=-1)
        mask = false_negative_mask(pairs)
        relevant = torch.zeros(len(pairs), len(numbers), dtype=torch.bool)
        for column, number in enumerate(own):
            relevant[:, number] |= mask[:, column]
        similarity, right = (text @ video.T).cpu().numpy(), relevant.numpy()
        captions, clips = len(self.held_out), len(set(own[: len(self.held_out)]))  # held out: they come first
        of_captions = ranks(similarity[:captions], right[:captions])
        retrieval = Retrieval(
            recall_of(of_captions),
            recall_of(ranks(similarity[:, :clips].T, right[:, :clips].T)),
        )
        return retrieval, self._loss(video[own], text, mask).item(), of_captions <= 1

    def _remember_best(self, retrieval: Retrieval, loss: float, first: np.ndarray) -> bool:
        """Keeps the trained parameters if no earlier state was better, and returns whether they were kept."""
        # With few pairs the recall often stays the same: then the loss decides which state is better.
        key = (retrieval.r_sum, -loss)
        if key <= self._best_key:
            return False
        self.is_better = self._first is not None and clearly_rose(self._first, first)
        best = {name: tensor.detach().cpu().clone() for name, tensor in self._trained.items()}
        self._best, self._best_key, self.after = best, key, retrieval  # last what makes it count: Ctrl-C may strike
        return True

    def _use_less_memory(self, error: torch.OutOfMemoryError) -> None:
        """Smaller chunks, then checkpointing; both are exact. Raises BadInput when neither is left."""
        if self._chunk > 1:
            self._chunk //= 2
        elif not self.encoder.checkpointing:
            self.encoder.checkpointing = True
        else:
            raise BadInput(f"{self.encoder.device} has too little memory to train on: try --device cpu.") from error
        log.info("out of memory: going on with chunks of %d", self._chunk)
        torch.cuda.empty_cache()


def use_autocast(dtype: str, encoder: Encoder) -> bool:
    """Whether to multiply in bfloat16: as asked, or with "auto" and "int8" where that is faster."""
    if dtype in ("auto", "int8"):  # 8-bit integers have no gradients
        dtype = fastest_float(str(encoder.device), encoder.model.visual.transformer.width)
    return dtype == "bfloat16"


def activation_bytes(encoder: Encoder, autocast: bool) -> int:
    """About what training holds of one clip: some twenty tensors a block for each token, before any merging."""
    visual = encoder.model.visual
    tokens = encoder.num_frames * (visual.grid_size[0] * visual.grid_size[1] + 1)
    size = 20 * len(visual.transformer.resblocks) * int(tokens) * int(visual.transformer.width) * 4
    return size // 2 if autocast else size


def activation_room(device: torch.device) -> int:
    """Bytes that activations may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * ROOM_SHARE)
    return CHUNK_BYTES


def _parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (numbers[i : i + size] for i in range(0, len(numbers), size))
