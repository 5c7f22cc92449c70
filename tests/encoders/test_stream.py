"""Clips encoded while more are decoded, several batches at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.rounding import rounding
from tests.support.waiting import PATIENCE
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.stream import EncodedVideo, FailedVideo, Progress, Totals, encode_ahead, encode_videos
from vidfind.media.decoding import decode_ahead, read_clips
from vidfind.media.messages import Clip, Opened
from vidfind.media.sampling import MISSING, Segment, add_between, split_segments
from vidfind.models.load import load_encoder
from vidfind.system.files import fingerprint
from vidfind.system.machine import parallel_map


def test_vectors_belong_to_the_clips_they_come_with(clips: Path) -> None:
    """Of an encoder that merges no tokens: which of two equal ones is merged is a matter of rounding."""
    encoder = load_encoder("tiny", encoder="mean", device="cpu", dtype="float32")
    paths = [clips / "rotated90.mp4", clips / "long.mp4", clips / "vfr.mp4"]
    one_by_one: dict[tuple[Path, bytes], np.ndarray] = {}
    for batch in decode_ahead(paths, 2.0, encoder.num_frames, encoder.view, batch_size=1):
        for clip in (message for message in batch if isinstance(message, Clip)):
            vector = encoder.encode_video(clip.frames[np.newaxis])[0].numpy()
            one_by_one[clip.path, clip.times.tobytes()] = vector
    assert len({path for path, _ in one_by_one}) == len(paths)
    count = 0
    for batch, [vectors] in encode_ahead(paths, 2.0, [encoder]):
        found = [message for message in batch if isinstance(message, Clip)]
        for clip, vector in zip(found, vectors, strict=True):
            np.testing.assert_allclose(vector, one_by_one[clip.path, clip.times.tobytes()], rtol=0, atol=rounding())
            count += 1
    assert count == len(one_by_one)


def test_the_last_segment_of_a_damaged_video_ends_where_it_can_be_decoded_no_more(
    clips: Path, tiny_encoder: Encoder
) -> None:
    *_, video = (
        one for one in encode_videos([clips / "damaged.mp4"], [tiny_encoder], 10.0) if not isinstance(one, Progress)
    )
    assert isinstance(video, EncodedVideo) and video.readable_until
    assert video.segments == [Segment(0, video.readable_until)]
    assert video.readable_until < 2 < video.info.duration


def test_each_video_comes_with_its_segments_and_their_vectors_from_each_encoder(
    clips: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    paths = [clips / "long.mp4", tmp_path / "text.mp4", clips / "vfr.mp4", tmp_path / "gone.mp4"]
    mean = tiny_encoder.with_encoder("mean")
    events = list(encode_videos(paths, [tiny_encoder, mean], 2.0, sampling="exact"))
    videos = {event.path: event for event in events if isinstance(event, EncodedVideo)}
    assert videos.keys() == {clips / "long.mp4", clips / "vfr.mp4"}
    for path, video in videos.items():
        assert (video.fingerprint, video.lost_segments, video.time_error) == (fingerprint(path), 0, 0)
        assert video.segments == split_segments(video.info.duration, 2.0)
        for encoder, vectors in zip((tiny_encoder, mean), video.vectors, strict=True):
            clip = next(read_clips(path, video.segments[-1:], encoder.num_frames, encoder.view))
            assert vectors.shape == (len(video.segments), encoder.dim)
            np.testing.assert_allclose(vectors[-1], encoder.encode_video(clip[None])[0].numpy(), atol=1e-5)
    failed = {event.path.name: event.try_again for event in events if isinstance(event, FailedVideo)}
    assert failed == {"text.mp4": False, "gone.mp4": True}


def test_of_a_damaged_video_the_segments_that_could_be_read_are_encoded(clips: Path, tiny_encoder: Encoder) -> None:
    [video] = [
        event
        for event in encode_videos([clips / "damaged.mp4"], [tiny_encoder], 0.5)
        if not isinstance(event, Progress)
    ]
    assert isinstance(video, EncodedVideo)
    all_segments = split_segments(video.info.duration, 0.5)
    assert video.segments == all_segments[: len(video.vectors[0])]
    assert 0 < len(video.segments) == len(all_segments) - video.lost_segments < len(all_segments)
    assert video.readable_until is not None and video.readable_until < video.info.duration


def test_clips_of_segments_that_overlap_are_those_of_each_segment_by_itself(clips: Path) -> None:
    path = clips / "long.mp4"
    batches = decode_ahead([path], 2.0, 4, 32, sampling="exact", overlap=True)
    opened, *messages = (message for batch in batches for message in batch)
    assert isinstance(opened, Opened)
    assert opened.segments == add_between(split_segments(opened.info.duration, 2.0))
    decoded = [message for message in messages if isinstance(message, Clip)]
    assert sum(clip.seconds for clip in decoded) == pytest.approx(opened.info.duration)
    for clip, alone in zip(decoded, read_clips(path, opened.segments, 4, 32), strict=True):
        np.testing.assert_array_equal(clip.frames, alone)


def test_of_a_damaged_video_no_segment_goes_on_where_nothing_can_be_decoded(clips: Path, tiny_encoder: Encoder) -> None:
    video, plain = (
        event
        for overlap in (True, False)
        for event in encode_videos([clips / "damaged.mp4"], [tiny_encoder], 0.5, overlap=overlap)
        if isinstance(event, EncodedVideo)
    )
    assert video.readable_until and video.readable_until == plain.readable_until
    assert video.segments[::2] == plain.segments and len(video.vectors[0]) == len(video.segments)
    np.testing.assert_allclose(video.vectors[0][::2], plain.vectors[0], atol=rounding())
    assert all(segment.end <= video.readable_until + MISSING for segment in video.segments)


def test_progress_ends_with_all_that_could_be_encoded(clips: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    paths = [clips / "damaged.mp4", tmp_path / "text.mp4", clips / "long.mp4"]
    events = list(encode_videos(paths, [tiny_encoder], 0.5))
    seconds = sum(
        segment.end - segment.start for event in events if isinstance(event, EncodedVideo) for segment in event.segments
    )
    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.done_files, last.total_files) == (3, 3)
    assert last.done_seconds == pytest.approx(seconds) == pytest.approx(last.total_seconds)


def test_results_come_in_order_however_long_each_takes() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(PATIENCE)  # the first ends after the second has begun
        else:
            later.set()
        return number * number

    assert list(parallel_map(work, range(20), workers=2)) == [(number, number * number) for number in range(20)]


def test_each_lane_computes_on_one_core_and_afterwards_all_is_as_before() -> None:
    before = torch.get_num_threads()
    assert {threads for _, threads in parallel_map(lambda _: torch.get_num_threads(), range(8), workers=2)} == {1}
    assert torch.get_num_threads() == before


def test_no_more_is_taken_ahead_than_there_are_lanes() -> None:
    taken: list[int] = []
    free = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            if len(taken) == 4:  # two at work, one waiting, one to be given back before this one is begun
                free.set()
            yield number

    def work(number: int) -> int:
        assert free.wait(PATIENCE) if number > 0 else True
        return number

    results = parallel_map(work, items(), workers=2)
    assert next(results) == (0, 0)
    assert len(taken) <= 4
    free.set()
    results.close()


def test_an_error_in_a_lane_is_raised_where_the_results_are_wanted() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        return number

    results = parallel_map(work, range(10), workers=2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


def test_totals_are_lengths_where_these_are_known_and_estimates_elsewhere() -> None:
    a, b, c = Path("a.mp4"), Path("b.mp4"), Path("c.mp4")
    totals = Totals({a: 100, b: 100, c: 1000})
    totals.opened(a, 10.0)
    assert (totals.progress(a).total_seconds, totals.progress(a).is_estimate) == (120.0, True)
    totals.waits(c, 5.0)  # many bytes for each second
    assert totals.progress(a).total_seconds == pytest.approx(15 + 100 * 15 / 1100)
    totals.waits(b, 60.0)
    assert (totals.progress(a).total_seconds, totals.progress(a).is_estimate) == (75.0, False)
    totals.opened(b, 61.0)  # its header was wrong
    assert totals.progress(b).total_seconds == 76.0
    totals.ended(c, 0.0)  # it could not be opened after all
    assert totals.progress(b).total_seconds == 71.0


def test_a_header_without_a_length_leaves_an_estimate() -> None:
    a, b = Path("a.mp4"), Path("b.mkv")
    totals = Totals({a: 100, b: 300})
    totals.opened(a, 10.0)
    totals.waits(b, 0.0)
    assert (totals.progress(a).total_seconds, totals.progress(a).is_estimate) == (40.0, True)
