"""The judging pipeline: captioned videos, encoders, and how well each finds the videos by their captions.

Is handed its pairs and its encoders; never prints. Videos are decoded once for all encoders and cut into segments as in
an index; only their vectors are kept, and a few clips that encoders are timed with. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfind.encoders.costs import ClipCost, clip_costs, clips_to_time
from vidfind.encoders.stream import encode_ahead
from vidfind.errors import BadInput
from vidfind.media.decoding import Clip, Done, Failed, Opened
from vidfind.media.sampling import DEFAULT_SAMPLING, SEGMENT_LENGTH, Sampling, Segment
from vidfind.training.pairs import Pair, normal_caption
from vidfind.training.recall import Retrieval, judge, ranks, recall_of

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.encoders.names import EncoderIdentity
log = logging.getLogger(__name__)
# Some 100 MB inside the widest text tower.
CAPTIONS_A_BATCH = 256
Target = tuple[Path, Segment]
"""What a caption tells of: a moment of a video, or all of it."""


@dataclass(frozen=True)
class Progress:
    """How far decoding and encoding are. `total_seconds` is an estimate until all videos are opened.

    A video counts again for encoders that look at other frames."""

    path: Path
    done_seconds: float
    total_seconds: float
    done_files: int
    total_files: int


@dataclass(frozen=True)
class Measuring:
    """All is encoded; what follows is the measurement of what a clip costs, for seconds."""


@dataclass(frozen=True)
class Verdict:
    """How each encoder did, by its name, and on what: distinct captions, videos, and the segments they were cut into.

    `costs`: what a clip takes them where `clips_at_a_time` are encoded side by side. `moments` is 0 where whole videos
    were to be found. `off` is how far, at most, the frames taken lie from the times wanted, in seconds."""

    retrieval: dict[str, Retrieval]
    costs: dict[str, ClipCost]
    clips_at_a_time: int
    captions: int
    videos: int
    moments: int
    segments: int
    segment_length: float
    off: float = 0.0


Clips = npt.NDArray[np.uint8]
"""(B, T, S, S, 3) RGB."""


@dataclass(frozen=True)
class _Footage:
    """The segments of a video, and a vector of each (N, D)."""

    segments: list[Segment]
    vectors: npt.NDArray[np.float32]


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Raises BadInput when there is so little to tell apart that every answer would be right."""
    if len(pairs) < 2:
        raise BadInput(f"To judge takes two captions or more, and there {'is 1' if pairs else 'are none'}.")
    if len(_targets(pairs)) < 2:
        raise BadInput(f"To judge takes two videos or moments to tell apart: all captions are of {pairs[0].path}.")


def evaluate(
    pairs: Sequence[Pair],
    encoders: Mapping[str, Encoder],
    segment_length: float = SEGMENT_LENGTH,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> Generator[Progress | Measuring | Verdict]:
    """Decodes and encodes the videos of the pairs, and yields how far it is; at last the Verdict.

    Each distinct caption is one query; where several videos have the same one, all of them are right.

    - No pair has a moment: videos are to be found among those of all pairs. A video is as good as its best segment, as
      in a search. The other way round, each video is to find one of its captions.
    - Any pair has a moment: segments are to be found among those of all videos. Right are those that overlap the
      moment; for a pair without one, all of its video. The other way round, each moment is to find its caption: it is
      as good as its best segment, and right is any caption whose own moment overlaps it.

    Raises BadInput as `check_pairs` does, and for a video that turns out not to be readable."""
    check_pairs(pairs)
    # An adapter of the text tower alone leaves video vectors as they are: they are made once.
    distinct = {_video_identity(encoder): encoder for encoder in encoders.values()}
    passes: dict[tuple[int, int], list[Encoder]] = defaultdict(list)
    for encoder in distinct.values():
        passes[encoder.num_frames, encoder.image_size].append(encoder)
    totals = _Totals(len(passes) * len({pair.path for pair in pairs}))
    footage: dict[EncoderIdentity, dict[Path, _Footage]] = {}
    timed: dict[EncoderIdentity, tuple[Encoder, Clips]] = {}
    for group in passes.values():
        encoded, clips = yield from _encode_videos(pairs, group, segment_length, sampling, totals)
        footage |= encoded
        timed |= {_video_identity(encoder): (encoder, clips) for encoder in group}
    any_footage = next(iter(footage.values()))
    yield Measuring()
    # Afterwards and in turn: in the run itself decoders take the cores away, now from one encoder and now from another.
    costs = clip_costs(timed)
    yield Verdict(
        {name: _judge(pairs, footage[_video_identity(encoder)], encoder) for name, encoder in encoders.items()},
        {name: costs[_video_identity(encoder)] for name, encoder in encoders.items()},
        clips_at_a_time=clips_to_time(next(iter(encoders.values()))),
        captions=len({normal_caption(pair.caption) for pair in pairs}),
        videos=len(any_footage),
        moments=len(_targets(pairs)) if any(pair.has_moment for pair in pairs) else 0,
        segments=sum(len(one.segments) for one in any_footage.values()),
        segment_length=segment_length,
        off=totals.off,
    )


def _video_identity(encoder: Encoder) -> EncoderIdentity:
    """Encoders equal in this make the same vectors of a video."""
    return dataclasses.replace(encoder.identity, adapter=None)


@dataclass
class _Totals:
    """What Progress is made from. Videos not opened yet are taken to be as long as the others on average."""

    files: int
    opened_files: int = 0
    opened_seconds: float = 0.0
    done_files: int = 0
    done_seconds: float = 0.0
    off: float = 0.0

    def progress(self, path: Path) -> Progress:
        mean = self.opened_seconds / self.opened_files if self.opened_files else 0.0
        return Progress(path, self.done_seconds, mean * self.files, self.done_files, self.files)


def _encode_videos(
    pairs: Sequence[Pair], encoders: Sequence[Encoder], segment_length: float, sampling: Sampling, totals: _Totals
) -> Generator[Progress, None, tuple[dict[EncoderIdentity, dict[Path, _Footage]], Clips]]:
    """One pass over the videos, for encoders that look at the same frames.

    And the clips to time them with: the first, some again where there are too few."""
    lines = {pair.path: pair.line for pair in reversed(pairs)}
    segments: dict[Path, list[Segment]] = {}
    vectors: list[dict[Path, list[npt.NDArray[np.float32]]]] = [defaultdict(list) for _ in encoders]
    paths = list(dict.fromkeys(pair.path for pair in pairs))
    first: list[Clips] = []
    with closing(encode_ahead(paths, segment_length, encoders, sampling=sampling)) as batches:
        for batch, encoded in batches:
            clips = [message for message in batch if isinstance(message, Clip)]
            for own, of_clips in zip(vectors, encoded, strict=True):
                for clip, vector in zip(clips, of_clips, strict=True):
                    own[clip.path].append(vector)
            first += [clip.frames for clip in clips[: clips_to_time(encoders[0]) - len(first)]]
            totals.done_seconds += sum(clip.seconds for clip in clips)
            for message in batch:
                if isinstance(message, Opened):
                    segments[message.path] = message.segments
                    totals.opened_files += 1
                    totals.opened_seconds += message.info.duration
                elif isinstance(message, Failed):
                    raise BadInput(f"{message.path} (line {lines[message.path]}) {message.reason}")
                elif isinstance(message, Done):
                    totals.done_files += 1
                    totals.off = max(totals.off, message.off)
                    _cut_to_readable(message.path, segments, len(vectors[0][message.path]))
            yield totals.progress(batch[-1].path)
    _check_footage(pairs, segments)
    footage = {
        _video_identity(encoder): {path: _Footage(segments[path], np.stack(own[path])) for path in paths}
        for encoder, own in zip(encoders, vectors, strict=True)
    }
    return footage, np.stack([first[number % len(first)] for number in range(clips_to_time(encoders[0]))])


def _cut_to_readable(path: Path, segments: dict[Path, list[Segment]], count: int) -> None:
    """Forget the segments of a damaged video that could not be read."""
    if count < len(segments[path]):
        log.warning("%s is damaged: %d of %d segments could be read", path, count, len(segments[path]))
    segments[path] = segments[path][:count]


def _check_footage(pairs: Sequence[Pair], segments: Mapping[Path, list[Segment]]) -> None:
    """Raises BadInput for a pair whose moment lies where its video is damaged."""
    for pair in pairs:
        if not any(_overlap(segment, pair.segment) for segment in segments[pair.path]):
            raise BadInput(
                f"{pair.path} is damaged, and the moment of line {pair.line} cannot be read: take the line out."
            )


def _overlap(one: Segment, other: Segment) -> bool:
    return one.start < other.end and other.start < one.end


def _targets(pairs: Sequence[Pair]) -> list[Target]:
    """The distinct moments that are told of; whole videos where no moment is given."""
    return list(dict.fromkeys((pair.path, pair.segment) for pair in pairs))


def _judge(pairs: Sequence[Pair], footage: Mapping[Path, _Footage], encoder: Encoder) -> Retrieval:
    """Letters: C distinct captions, N segments, M targets."""
    captions: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        captions[normal_caption(pair.caption)].append(pair)
    text = _encode_texts(encoder, [same[0].caption for same in captions.values()])  # (C, D)
    similarity = text @ np.concatenate([one.vectors for one in footage.values()]).T  # (C, N)

    targets = _targets(pairs)
    numbers = _segment_numbers(footage, targets)
    segment_is_right = np.zeros(similarity.shape, dtype=bool)  # (C, N)
    target_is_right = np.zeros((len(captions), len(targets)), dtype=bool)  # (C, M)
    targets_of: dict[Path, list[int]] = defaultdict(list)
    for number, (path, _) in enumerate(targets):
        targets_of[path].append(number)
    for row, same in enumerate(captions.values()):
        for pair in same:
            segment_is_right[row, numbers[pair.path, pair.segment]] = True
            overlapping = [i for i in targets_of[pair.path] if _overlap(targets[i][1], pair.segment)]
            target_is_right[row, overlapping] = True
    best = np.stack([similarity[:, numbers[target]].max(axis=1) for target in targets], axis=1)  # (C, M)
    found = judge(best, target_is_right)
    if any(pair.has_moment for pair in pairs):
        found = dataclasses.replace(found, text_to_video=recall_of(ranks(similarity, segment_is_right)))
    return found


def _segment_numbers(footage: Mapping[Path, _Footage], targets: Sequence[Target]) -> dict[Target, list[int]]:
    """Which of all segments, counted over all videos, overlap each target."""
    first, count = {}, 0
    for path, one in footage.items():
        first[path] = count
        count += len(one.segments)
    return {
        (path, moment): [
            first[path] + i for i, segment in enumerate(footage[path].segments) if _overlap(segment, moment)
        ]
        for path, moment in targets
    }


def _encode_texts(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    batches = [texts[i : i + CAPTIONS_A_BATCH] for i in range(0, len(texts), CAPTIONS_A_BATCH)]
    return np.concatenate([encoder.encode_text(batch).numpy() for batch in batches])
