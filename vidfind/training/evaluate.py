"""The judging pipeline: captioned videos, encoders, and how well each finds the videos by their captions.

Gets its pairs and its encoders; never prints. Videos are decoded once for encoders that look at the same frames, and
cut into segments as in an index. Only their vectors are kept. A few clips are read again at the end, to time the
encoders with. Times are in seconds.
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
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress, encode_videos
from vidfind.errors import BadInput
from vidfind.media.decoding import decode_ahead
from vidfind.media.messages import Clip
from vidfind.media.sampling import DEFAULT_SAMPLING, SEGMENT_LENGTH, Sampling, Segment, View
from vidfind.training.pairs import Pair, normal_caption, warn_of_long
from vidfind.training.recall import Retrieval, judge, ranks, recall_of
from vidfind.words.naming import has_word

if TYPE_CHECKING:
    from vidfind.encoders.encoder import Encoder
    from vidfind.encoders.names import EncoderIdentity
log = logging.getLogger(__name__)
# Some 100 MB inside the widest text tower.
CAPTIONS_A_BATCH = 256
Clips = npt.NDArray[np.uint8]
"""(B, T, S, S, 3) RGB."""
VideoSegment = tuple[Path, Segment]
"""The subject of a caption: a moment of a video, or all of it."""


@dataclass(frozen=True)
class Measuring:
    """All is encoded; next the cost of a clip is measured, which takes seconds."""


@dataclass(frozen=True)
class Verdict:
    """How each encoder did, by its name, and on what: distinct captions, videos, and the segments they were cut into.

    `costs`: what a clip takes them where `clips_at_a_time` are encoded side by side. `moments` is 0 where whole videos
    were to be found. `time_error` is the largest distance of a frame taken from the time
    wanted, in seconds."""

    retrieval: dict[str, Retrieval]
    costs: dict[str, ClipCost]
    clips_at_a_time: int
    captions: int
    videos: int
    moments: int
    segments: int
    segment_length: float
    overlap: bool = False
    time_error: float = 0.0
    words: Mapping[str, WordFound] = dataclasses.field(default_factory=dict)
    """How the captions with each word of the owner's did."""


@dataclass(frozen=True)
class WordFound:
    """The distinct captions with a word of the owner's, and how many of them find theirs first with each encoder."""

    captions: int
    first: Mapping[str, int]


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Raises BadInput when there is so little to tell apart that every answer would be right."""
    if len(pairs) < 2:
        raise BadInput(f"To judge takes two captions or more, and there {'is 1' if pairs else 'are none'}.")
    if len(_captioned(pairs)) < 2:
        raise BadInput(f"To judge takes two videos or moments to tell apart: all captions are of {pairs[0].path}.")


def evaluate(
    pairs: Sequence[Pair],
    encoders: Mapping[str, Encoder],
    segment_length: float = SEGMENT_LENGTH,
    sampling: Sampling = DEFAULT_SAMPLING,
    overlap: bool = False,
    words: Sequence[str] = (),
) -> Generator[Progress | Measuring | Verdict]:
    """Decodes and encodes the videos of the pairs; yields Progress, and at last the Verdict.

    >>> from vidfind import evaluate, load_encoder, read_pairs
    >>> pairs, bad_lines = read_pairs("captions.csv")
    >>> encoders = {"tempme": load_encoder("tiny"), "mean": load_encoder("tiny", encoder="mean")}
    >>> *progress, verdict = evaluate(pairs, encoders)
    >>> verdict.retrieval["tempme"].text_to_video.r5  # of 100 captions, how many have their video among the first 5
    100.0

    A video counts again in Progress for encoders that look at other frames. `overlap` puts one more segment between
    each two, as an index of overlapping segments has them. The captions with each of `words` are also judged by
    themselves, as in fine-tuning.

    Each distinct caption is one query; where several videos have the same one, all of them are right.

    - No pair has a moment: videos are to be found among those of all pairs. A video is as good as its best segment, as
      in a search. The other way round, each video is to find one of its captions.
    - Any pair has a moment: segments are to be found among those of all videos. Right are those that overlap the
      moment; for a pair without one, all of its video. The other way round, each moment is to find its caption: it is
      as good as its best segment, and right is any caption whose own moment overlaps it.

    Raises BadInput as `check_pairs` does, and for a video that turns out not to be readable."""
    check_pairs(pairs)
    warn_of_long([pair.caption for pair in pairs], next(iter(encoders.values())).tokenizer)
    # An adapter of the text tower alone leaves video vectors as they are: they are made once.
    distinct = {_video_identity(encoder): encoder for encoder in encoders.values()}
    passes: dict[tuple[int, View], list[Encoder]] = defaultdict(list)
    for encoder in distinct.values():
        passes[encoder.num_frames, encoder.view].append(encoder)
    encoded: dict[EncoderIdentity, _Encoded] = {}
    timed: dict[EncoderIdentity, tuple[Encoder, Clips]] = {}
    paths = list(dict.fromkeys(pair.path for pair in pairs))
    done_seconds, time_error = 0.0, 0.0
    for number, group in enumerate(passes.values()):
        videos: dict[Path, EncodedVideo] = {}
        before = done_seconds
        for event in _encode_pass(pairs, paths, group, segment_length, sampling, overlap):
            if isinstance(event, EncodedVideo):
                videos[event.path] = event
            else:
                progress = _over_passes(event, before, number, len(passes))
                done_seconds = progress.done_seconds
                yield progress
        time_error = max(time_error, *(video.time_error for video in videos.values()))
        _check_moments(pairs, videos)
        clips = _read_clips(paths, group[0], segment_length, sampling)
        segments = {path: videos[path].segments for path in paths}
        for position, encoder in enumerate(group):
            vectors = np.concatenate([videos[path].vectors[position] for path in paths])
            encoded[_video_identity(encoder)] = _Encoded(segments, vectors)
            timed[_video_identity(encoder)] = encoder, clips
    any_encoded = next(iter(encoded.values()))
    yield Measuring()
    # Afterwards and in turn: in the run itself decoders take the cores away, now from one encoder and now from another.
    costs = clip_costs(timed)
    judged = {name: _judge(pairs, encoded[_video_identity(encoder)], encoder) for name, encoder in encoders.items()}
    yield Verdict(
        {name: retrieval for name, (retrieval, _) in judged.items()},
        {name: costs[_video_identity(encoder)] for name, encoder in encoders.items()},
        clips_at_a_time=clips_to_time(next(iter(encoders.values()))),
        captions=len({normal_caption(pair.caption) for pair in pairs}),
        videos=len(any_encoded.segments),
        moments=len(_captioned(pairs)) if any(pair.has_moment for pair in pairs) else 0,
        segments=len(any_encoded.vectors),
        segment_length=segment_length,
        overlap=overlap,
        time_error=time_error,
        words=_find_words(words, {name: first for name, (_, first) in judged.items()}),
    )


def _find_words(words: Sequence[str], first: Mapping[str, Mapping[str, bool]]) -> dict[str, WordFound]:
    """Returns how the captions with each word did, from whether each caption found its own first with each encoder."""
    found = {}
    for word in words:
        having = [caption for caption in next(iter(first.values())) if has_word(caption, word)]
        if having:
            found[word] = WordFound(
                len(having), {name: sum(of[caption] for caption in having) for name, of in first.items()}
            )
    return found


def _video_identity(encoder: Encoder) -> EncoderIdentity:
    """Encoders equal in this make the same vectors of a video."""
    return dataclasses.replace(encoder.identity, adapter=None)


@dataclass(frozen=True)
class _Encoded:
    """The segments of all videos, and the vectors of them from one encoder."""

    segments: dict[Path, list[Segment]]
    vectors: npt.NDArray[np.float32]
    """(N, D): one row for each segment of the first video, then of the second, and so on."""


def _encode_pass(
    pairs: Sequence[Pair],
    paths: Sequence[Path],
    encoders: Sequence[Encoder],
    segment_length: float,
    sampling: Sampling,
    overlap: bool,
) -> Generator[EncodedVideo | Progress]:
    """One pass over the videos, for encoders that look at the same frames. Raises BadInput if a video fails."""
    lines = {pair.path: pair.line for pair in reversed(pairs)}
    with closing(encode_videos(paths, encoders, segment_length, sampling=sampling, overlap=overlap)) as events:
        for event in events:
            if isinstance(event, FailedVideo):
                raise BadInput(f"{event.path} (line {lines[event.path]}) {event.reason}")
            if isinstance(event, EncodedVideo) and event.lost_segments:
                read, count = len(event.segments), len(event.segments) + event.lost_segments
                log.warning("%s is damaged: %d of %d segments could be read", event.path, read, count)
            yield event


def _over_passes(progress: Progress, done_seconds: float, number: int, count: int) -> Progress:
    """The progress of all `count` passes, from that of pass `number` (from 0); the passes before took `done_seconds`.

    Each pass counts every video once more."""
    return Progress(
        progress.path,
        done_seconds + progress.done_seconds,
        done_seconds + progress.total_seconds * (count - number),
        progress.total_files * number + progress.done_files,
        progress.total_files * count,
        progress.is_estimate,
    )


def _read_clips(paths: Sequence[Path], encoder: Encoder, segment_length: float, sampling: Sampling) -> Clips:
    """As many clips as an encoder is timed with: the first of the videos, some again where there are too few."""
    wanted = clips_to_time(encoder)
    frames: list[Clips] = []
    decoding = decode_ahead(
        paths[:wanted], segment_length, encoder.num_frames, encoder.view, sampling=sampling, batch_size=wanted
    )
    with closing(decoding) as batches:
        for batch in batches:
            frames += [message.frames for message in batch if isinstance(message, Clip)]
            if len(frames) >= wanted:
                break
    if not frames:  # all could be read a moment ago
        raise BadInput(f"{paths[0]} cannot be read any more. Is its drive still there?")
    return np.stack([frames[number % len(frames)] for number in range(wanted)])


def _check_moments(pairs: Sequence[Pair], videos: Mapping[Path, EncodedVideo]) -> None:
    """Raises BadInput for a pair whose moment lies where its video is damaged."""
    for pair in pairs:
        if not any(_overlap(segment, pair.segment) for segment in videos[pair.path].segments):
            raise BadInput(
                f"{pair.path} is damaged, and the moment of line {pair.line} cannot be read: take the line out."
            )


def _overlap(one: Segment, other: Segment) -> bool:
    return one.start < other.end and other.start < one.end


def _captioned(pairs: Sequence[Pair]) -> list[VideoSegment]:
    """The distinct moments that have a caption; whole videos where no moment is given."""
    return list(dict.fromkeys((pair.path, pair.segment) for pair in pairs))


def _judge(pairs: Sequence[Pair], encoded: _Encoded, encoder: Encoder) -> tuple[Retrieval, dict[str, bool]]:
    """Returns recall, and whether each caption finds its own first.

    Letters: C distinct captions, N segments, M captioned moments."""
    captions: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        captions[normal_caption(pair.caption)].append(pair)
    text = _encode_texts(encoder, [same[0].caption for same in captions.values()])  # (C, D)
    similarity = text @ encoded.vectors.T  # (C, N)

    moments = _captioned(pairs)
    rows = _rows_of(moments, encoded.segments)
    segment_is_right = np.zeros(similarity.shape, dtype=bool)  # (C, N)
    moment_is_right = np.zeros((len(captions), len(moments)), dtype=bool)  # (C, M)
    moments_of: dict[Path, list[int]] = defaultdict(list)
    for number, (path, _) in enumerate(moments):
        moments_of[path].append(number)
    for caption, same in enumerate(captions.values()):
        for pair in same:
            segment_is_right[caption, rows[pair.path, pair.segment]] = True
            overlapping = [i for i in moments_of[pair.path] if _overlap(moments[i][1], pair.segment)]
            moment_is_right[caption, overlapping] = True
    best = np.stack([similarity[:, rows[moment]].max(axis=1) for moment in moments], axis=1)  # (C, M)
    found = judge(best, moment_is_right)
    of_captions = ranks(best, moment_is_right)
    if any(pair.has_moment for pair in pairs):
        of_captions = ranks(similarity, segment_is_right)
        found = dataclasses.replace(found, text_to_video=recall_of(of_captions))
    return found, dict(zip(captions, (bool(rank <= 1) for rank in of_captions), strict=True))


def _rows_of(
    moments: Sequence[VideoSegment], segments: Mapping[Path, Sequence[Segment]]
) -> dict[VideoSegment, list[int]]:
    """For each moment, the rows of the segments that overlap it, counted over all videos."""
    first, count = {}, 0
    for path, of_video in segments.items():
        first[path] = count
        count += len(of_video)
    return {
        (path, moment): [first[path] + i for i, segment in enumerate(segments[path]) if _overlap(segment, moment)]
        for path, moment in moments
    }


def _encode_texts(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    batches = [texts[i : i + CAPTIONS_A_BATCH] for i in range(0, len(texts), CAPTIONS_A_BATCH)]
    return np.concatenate([encoder.encode_text(batch).numpy() for batch in batches])
