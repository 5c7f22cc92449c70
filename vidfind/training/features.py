"""Features of the clips and captions of a training, by the encoder in training and by that before it.

What is computed once and stays the same is kept: the features of everything before training, and of clips where the
video tower is not trained. Letters: B pairs, D embedding size, T frames a clip, S pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from vidfind.encoders.encoder import Encoder
from vidfind.errors import BadInput
from vidfind.media.sampling import Segment
from vidfind.precision.formats import choose_format, fastest_float
from vidfind.towers.text import has_plain_text_tower
from vidfind.training.clips import ClipCache, augment, names_side
from vidfind.training.optimize import Chunk, Room, in_lanes
from vidfind.training.pairs import Pair
from vidfind.training.recipe import Recipe, is_frozen

log = logging.getLogger(__name__)
T = TypeVar("T")
CAPTION_TOKENS = 32  # captions are cut to so many in training, as in the paper, where that changes nothing else
CAPTIONS_A_CHUNK = 32
CLIPS_COMPARED = 100
VARIANTS = 4  # of each clip
FRESH = 1 / 3  # share of the clips of few pairs that is computed at a step
FEWEST_FRESH = 12
MAX_SCALE = 100.0  # of the logits, as CLIP's own training holds it
MOST_ROOM = 3 * 10**9  # bytes of activations in the memory of the CPU
ROOM_SHARE = 0.7  # of what a CUDA device has free
CPU_SHARE = 0.3  # of the memory that is free for a CPU: other programs use it too


class Features:
    """Computes the features of clips and captions, a few at a time and in several lanes on a CPU."""

    def __init__(
        self,
        encoder: Encoder,
        before: Encoder,
        segments: Sequence[tuple[Path, Segment]],
        recipe: Recipe,
        autocast: bool,
    ) -> None:
        """`encoder` is the one in training, `before` the one before it. `autocast`: multiply in bfloat16."""
        self.encoder, self.before = encoder, before
        self.number: Mapping[tuple[Path, Segment], int] = {one: number for number, one in enumerate(segments)}
        self.clips = ClipCache(segments, encoder.num_frames, encoder.view)
        self._room = activation_room(encoder.device)
        self.chunk = max(1, self._room // activation_bytes(encoder, autocast))
        """How many clips fit in memory with their activations, at least."""
        is_cpu = encoder.device.type == "cpu"
        self.lanes = encoder.lanes if is_cpu else 1
        self._most = encoder.batch_size if is_cpu else self.chunk  # in a lane of a CPU, more are no quicker
        self._recipe, self._autocast = recipe, autocast
        self._known: dict[int, Tensor] = {}
        self._varied: dict[tuple[int, bool, int], Tensor] = {}
        self._texts: dict[str, Tensor] = {}
        self._last: dict[int, Tensor] = {}

    @property
    def part(self) -> int:
        """How many clips are computed together."""
        return min(self.chunk, self._most)

    def room(self) -> Room:
        """Returns the room for the activations of a step."""
        weights = {p.untyped_storage().data_ptr() for p in self.encoder.model.parameters()}
        return Room(self._room, self.lanes, weights)

    def of(self, pair: Pair) -> int:
        """Returns the number of a pair's clip."""
        return self.number[pair.path, pair.segment]

    def video(self, encoder: Encoder, clips: Tensor) -> Tensor:
        """Clips (B, T, S, S, 3) -> (B, D), with gradients. With `text_only` they are features already."""
        if self._recipe.text_only:
            return clips
        with self._number_format():
            return encoder.video_features(clips)

    def text_chunks(self, texts: Sequence[str]) -> list[Chunk]:
        """Returns the computation of the features of texts, in parts. Those of a frozen text tower are kept."""
        if is_frozen(self.encoder):
            return [partial(self.text_before, texts)]
        return [partial(self.text, self.encoder, part) for part in self.id_parts(texts)]

    def text(self, encoder: Encoder, ids: Tensor) -> Tensor:
        """Token ids (B, length) -> (B, D), with gradients."""
        with self._number_format():
            return encoder.text_features(ids)

    def token_ids(self, captions: Sequence[str], encoder: Encoder | None = None) -> Tensor:
        """Returns the token ids (B, `caption_tokens`) of captions."""
        encoder = encoder or self.encoder
        return encoder.tokenizer(captions, context_length=caption_tokens(encoder)).to(self.encoder.device)

    def id_parts(self, captions: Sequence[str]) -> Sequence[Tensor]:
        """Returns the token ids of captions in parts that are computed together."""
        return torch.split(self.token_ids(captions), CAPTIONS_A_CHUNK)

    @torch.no_grad()
    def text_vectors(self, encoder: Encoder, captions: Sequence[str]) -> Tensor:
        """Returns the vectors (B, D) of captions, of unit length."""
        parts = torch.split(self.token_ids(captions, encoder), CAPTIONS_A_CHUNK)
        return F.normalize(torch.cat([self.text(encoder, part).float() for part in parts]), dim=-1)

    def of_clips(self, numbers: Sequence[int], encoder: Encoder) -> Tensor:
        """Returns the features (B, D) of clips as they are."""
        known = self._known if self._recipe.text_only or encoder is self.before else {}

        def compute(part: Sequence[int]) -> Tensor:
            with self._number_format():
                return encoder.video_features(torch.stack([self._clip(number) for number in part])).float()

        for part, features in self._computed([n for n in dict.fromkeys(numbers) if n not in known], compute):
            known |= zip(part, features, strict=True)
        return torch.stack([known[number] for number in numbers])

    def distance_between(self, pairs: Sequence[Pair]) -> float:
        """Returns the mean of 1 - cosine between clips before training: of up to CLIPS_COMPARED of the pairs."""
        numbers = list(dict.fromkeys(map(self.of, pairs)))[:CLIPS_COMPARED]
        vectors = F.normalize(self.of_clips(numbers, self.before), dim=-1)
        return float((1 - vectors @ vectors.T).sum()) / max(1, len(numbers) * (len(numbers) - 1))

    def varied(self, batch: Sequence[Pair], variants: Sequence[int]) -> Tensor:
        """Returns one variant of the clip of each pair (B, T, S, S, 3); with `text_only` the features (B, D) of clips
        as they are."""
        numbers = [self.of(pair) for pair in batch]
        if self._recipe.text_only:
            return self.of_clips(numbers, self.encoder)
        seeds = [f"{self._recipe.seed} {number} {one}" for number, one in zip(numbers, variants, strict=True)]
        return torch.stack(
            [
                augment(self._clip(number), pair.caption, Random(seed))
                for number, pair, seed in zip(numbers, batch, seeds, strict=True)
            ]
        )

    def varied_before(self, batch: Sequence[Pair], variants: Sequence[int], clips: Tensor) -> Tensor:
        """Returns the features (B, D) before training of `clips`, the result of `varied`; of each variant once."""
        if self._recipe.text_only:
            return clips
        keys = [(self.of(pair), names_side(pair.caption), one) for pair, one in zip(batch, variants, strict=True)]
        places = [place for place, key in enumerate(keys) if key not in self._varied]
        for part, features in self._computed(places, lambda part: self.video(self.before, clips[part])):
            self._varied |= zip((keys[place] for place in part), features.cpu(), strict=True)
        return torch.stack([self._varied[key] for key in keys]).to(clips.device)

    @torch.no_grad()
    def text_before(self, captions: Sequence[str]) -> Tensor:
        """Returns the features (B, D) of captions before training; of each caption once."""
        for part in _parts([one for one in dict.fromkeys(captions) if one not in self._texts], CAPTIONS_A_CHUNK):
            features = self.text(self.before, self.token_ids(part, self.before)).cpu()
            self._texts |= zip(part, features, strict=True)
        return torch.stack([self._texts[one] for one in captions]).to(self.encoder.device)

    def split_batch(self, batch: Sequence[Pair], is_repeated: bool) -> tuple[Sequence[Pair], Sequence[Pair]]:
        """Returns the pairs whose clips are computed at this step, and those whose clips are as they were last.

        `is_repeated`: the batch has all pairs, at each step."""
        is_shared = is_repeated and not self._recipe.text_only
        count = max(FEWEST_FRESH, round(len(batch) * FRESH)) if is_shared else len(batch)
        return batch[:count], batch[count:]

    def last(self, batch: Sequence[Pair]) -> list[Tensor]:
        """Returns the features (D,) of clips as they were last noted: at first, as they were before training."""
        missing = [number for number in dict.fromkeys(map(self.of, batch)) if number not in self._last]
        if missing:
            self._last |= zip(missing, self.of_clips(missing, self.before), strict=True)
        return [self._last[self.of(pair)] for pair in batch]

    def note(self, batch: Sequence[Pair], features: Tensor) -> None:
        """Keeps the features (B, D) of the clips of pairs as the last."""
        self._last |= zip(map(self.of, batch), features.detach().float(), strict=True)

    def use_less_memory(self, error: torch.OutOfMemoryError) -> None:
        """Smaller chunks, then checkpointing; both are exact. Raises BadInput when neither is left."""
        self._room //= 2
        if self.chunk > 1:
            self.chunk //= 2
        elif not self.encoder.checkpointing:
            self.encoder.checkpointing = True
        else:
            raise BadInput(f"{self.encoder.device} has too little memory to train on: try --device cpu.") from error
        log.info("out of memory: going on with chunks of %d", self.chunk)
        torch.cuda.empty_cache()

    def _clip(self, number: int) -> Tensor:
        return torch.from_numpy(self.clips[number]).to(self.encoder.device)

    def _number_format(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.encoder.device.type, torch.bfloat16) if self._autocast else nullcontext()

    def _computed(
        self, items: Sequence[int], compute: Callable[[Sequence[int]], Tensor]
    ) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yields parts of items, each with what `compute` returns for it, several lanes at a time."""

        def one(part: Sequence[int]) -> Tensor:
            with torch.no_grad():  # a setting of each thread
                return compute(part)

        parts = list(_parts(items, self.part))
        with in_lanes(self.lanes) as run:
            yield from zip(parts, run(one, parts), strict=True)


def use_autocast(dtype: str, encoder: Encoder) -> bool:
    """Whether to multiply in bfloat16: as asked, or with "auto" and "int8" where that is faster.

    Raises BadInput for int8 where it could not be used afterwards."""
    if dtype == "int8":
        choose_format(dtype, str(encoder.device))
    if dtype in ("auto", "int8"):  # 8-bit integers have no gradients
        dtype = fastest_float(str(encoder.device), encoder.tower.width)
    return dtype == "bfloat16"


def scale_of(encoder: Encoder) -> Tensor:
    """Returns what makes logits of cosines."""
    scale: Tensor = encoder.model.logit_scale.detach().exp().clamp(max=MAX_SCALE).float()
    return scale


def activation_bytes(encoder: Encoder, autocast: bool) -> int:
    """About what training holds of one clip: some twenty tensors a block for each token, before any merging."""
    tower = encoder.tower
    tokens = encoder.num_frames * (tower.num_patches + tower.num_cls)
    size = 20 * tower.depth * tokens * tower.width * 4
    return size // 2 if autocast else size


def activation_room(device: torch.device) -> int:
    """Bytes that activations may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * ROOM_SHARE)
    return min(MOST_ROOM, int(psutil.virtual_memory().available * CPU_SHARE))


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def caption_tokens(encoder: Encoder) -> int:
    """Returns how many tokens training reads of a caption.

    A text tower that also looks at padding, as SigLIP's, gives other vectors for a shorter text: it reads all."""
    length = encoder.tokenizer.context_length
    return min(CAPTION_TOKENS, length) if has_plain_text_tower(encoder.model) else length
