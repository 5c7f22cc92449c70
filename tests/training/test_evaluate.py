"""Judging encoders on captioned videos: the tiny model knows drawn clips, so true captions must do well and false ones
badly."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.support.small_adapters import save_adapter
from vidfind.demo.captions import caption
from vidfind.demo.collection import draw_collection
from vidfind.demo.drawing import draw
from vidfind.demo.world import FRAME_RATE, Scene, random_background, random_scene, random_shape, reverse
from vidfind.display.training import measured
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.encoders.stream import Progress
from vidfind.errors import BadInput, ModelUnavailable
from vidfind.media.probe import probe
from vidfind.media.write import write_video
from vidfind.models.catalog import TINY_WEIGHTS
from vidfind.models.load import load_choice, load_encoder, weights_digest
from vidfind.system.paths import NO_ADAPTER, adapter_path
from vidfind.training.choose import choose_encoders, load_encoders
from vidfind.training.evaluate import Measuring, Verdict, check_pairs, evaluate
from vidfind.training.pairs import Pair

pytestmark = pytest.mark.usefixtures("measured_once")
CLIPS = 16


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Sixteen drawn clips with true captions; nobody may write to them."""
    return [whole(path, text) for path, text in draw_collection(tmp_path_factory.mktemp("drawn"), CLIPS, seed=11)]


@pytest.fixture(scope="session")
def mean_encoder() -> Encoder:
    """The tiny model without a sense of time: what tempme is to be compared with."""
    return load_encoder("tiny", encoder="mean", device="cpu")


def whole(path: Path, text: str, line: int = 2) -> Pair:
    return Pair(path, text, 0.0, probe(path).duration, False, line)


def part(path: Path, text: str, start: float, end: float, line: int = 2) -> Pair:
    return Pair(path, text, start, end, True, line)


def verdict(
    pairs: list[Pair], encoders: Mapping[str, Encoder] | Encoder, segment_length: float = 10.0, overlap: bool = False
) -> Verdict:
    named = {"it": encoders} if isinstance(encoders, Encoder) else encoders
    *progress, measuring, last = evaluate(pairs, named, segment_length, overlap=overlap)
    assert all(isinstance(event, Progress) for event in progress) and isinstance(measuring, Measuring)
    assert isinstance(last, Verdict)
    return last


def swap_captions(pairs: list[Pair]) -> list[Pair]:
    """Each video with the caption of the next."""
    return [
        dataclasses.replace(pair, caption=other.caption)
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]


# Whole videos


@pytest.fixture(scope="module")
def judged(drawn: list[Pair], tiny_encoder: Encoder) -> Verdict:
    """The built-in model judged on all drawn clips."""
    return verdict(drawn, tiny_encoder)


def test_true_captions_find_their_videos_and_videos_their_captions(judged: Verdict) -> None:
    assert (judged.captions, judged.videos, judged.moments, judged.segments) == (CLIPS, CLIPS, 0, CLIPS)
    found = judged.retrieval["it"]
    assert found.text_to_video.count == found.video_to_text.count == CLIPS
    assert min(found.text_to_video.r1, found.video_to_text.r1) >= 80
    assert min(found.text_to_video.r5, found.video_to_text.r5) >= 95
    assert found.text_to_video.median == 1


def test_swapped_captions_do_badly(drawn: list[Pair], tiny_encoder: Encoder) -> None:
    found = verdict(swap_captions(drawn), tiny_encoder).retrieval["it"]
    assert max(found.text_to_video.r1, found.video_to_text.r1) <= 20


def test_only_an_encoder_that_sees_time_tells_left_from_right(
    tmp_path: Path, tiny_encoder: Encoder, mean_encoder: Encoder
) -> None:
    rng = Random(4)
    pairs = []
    for number in range(6):
        shape = random_shape(rng, kind=("circle", "square", "star")[number % 3], size="big", motion="left")
        scene = Scene((shape,), random_background(rng))
        for name, one in (("there", scene), ("back", reverse(scene))):
            path = tmp_path / f"{number}-{name}.mp4"
            write_video(path, draw(one, 3 * FRAME_RATE), FRAME_RATE)
            noun = f"big {shape.colour} {shape.kind}"
            pairs.append(whole(path, f"a {noun} moves {'left' if name == 'there' else 'right'}"))
    found = verdict(pairs, {"tempme": tiny_encoder, "mean": mean_encoder}).retrieval
    assert list(found) == ["tempme", "mean"]
    assert found["tempme"].text_to_video.r1 >= found["mean"].text_to_video.r1 + 20


def test_it_is_as_good_as_the_vectors_of_an_index_would_be(
    drawn: list[Pair], tiny_encoder: Encoder, judged: Verdict
) -> None:
    """Against a slow independent version: each clip read and encoded by itself, ranks by sorting."""
    from vidfind.media.read import read_clips
    from vidfind.media.sampling import Segment

    clips = [
        next(read_clips(pair.path, [Segment(0, pair.end)], tiny_encoder.num_frames, tiny_encoder.view)).frames
        for pair in drawn
    ]
    videos = np.stack([tiny_encoder.encode_video(clip[None])[0].numpy() for clip in clips])
    ranks = []
    for number, pair in enumerate(drawn):
        scores = videos @ tiny_encoder.encode_text([pair.caption])[0].numpy()
        ranks.append(1 + list(np.argsort(-scores)).index(number))
    found = judged.retrieval["it"].text_to_video
    assert found.mean == pytest.approx(np.mean(ranks))
    assert found.r1 == pytest.approx(100 * np.mean(np.array(ranks) == 1))


def test_a_caption_of_two_videos_is_one_query_for_which_both_are_right(
    drawn: list[Pair], tiny_encoder: Encoder, tmp_path: Path
) -> None:
    shutil.copy(drawn[0].path, tmp_path / "copy.mp4")
    twin = dataclasses.replace(drawn[0], path=tmp_path / "copy.mp4", caption=f"  {drawn[0].caption.upper()}")
    alone, both = verdict(drawn[:6], tiny_encoder), verdict([*drawn[:6], twin], tiny_encoder)
    assert (both.captions, both.videos) == (6, 7)
    assert both.retrieval["it"].text_to_video == alone.retrieval["it"].text_to_video
    assert both.retrieval["it"].video_to_text.count == 7


def test_a_video_with_several_captions_is_found_by_each(drawn: list[Pair], tiny_encoder: Encoder) -> None:
    more = dataclasses.replace(drawn[0], caption="something else")
    found = verdict([*drawn[:6], more], tiny_encoder).retrieval["it"]
    assert (found.text_to_video.count, found.video_to_text.count) == (7, 6)


def test_a_long_video_is_as_good_as_its_best_segment(drawn: list[Pair], tiny_encoder: Encoder, tmp_path: Path) -> None:
    joined = join_scenes(tmp_path / "long.mp4", 3, seed=5)
    pairs = [*drawn[:9], *(whole(joined.path, text) for text, _, _ in joined.scenes)]
    judged = verdict(pairs, tiny_encoder, segment_length=joined.seconds)
    assert (judged.captions, judged.videos) == (12, 10)
    assert judged.segments >= 12
    assert judged.retrieval["it"].text_to_video.r1 >= 80


# Moments


@dataclasses.dataclass(frozen=True)
class Joined:
    path: Path
    seconds: float
    scenes: list[tuple[str, float, float]]


def join_scenes(path: Path, count: int, seed: int, seconds: int = 3) -> Joined:
    """A video of several scenes one after the other, each with its caption, start and end."""
    rng = Random(seed)
    scenes = [random_scene(rng, count=1) for _ in range(count)]
    write_video(path, itertools.chain(*(draw(scene, seconds * FRAME_RATE) for scene in scenes)), FRAME_RATE)
    times = [(seconds * i, seconds * (i + 1)) for i in range(count)]
    texts = [caption(scene, rng) for scene in scenes]
    return Joined(path, seconds, [(text, *span) for text, span in zip(texts, times, strict=True)])


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Four videos of four scenes of three seconds, each scene with its caption."""
    folder = tmp_path_factory.mktemp("moments")
    films = [join_scenes(folder / f"{seed}.mp4", 4, seed) for seed in range(4)]
    return [part(film.path, *scene) for film in films for scene in film.scenes]


def test_captions_find_their_moments_among_the_segments_of_all_videos(
    moments: list[Pair], tiny_encoder: Encoder
) -> None:
    judged = verdict(moments, tiny_encoder, segment_length=3)
    assert (judged.videos, judged.moments, judged.segments) == (4, 16, 16)
    found = judged.retrieval["it"]
    overlapping = verdict(moments, tiny_encoder, segment_length=3, overlap=True)
    assert (overlapping.moments, overlapping.segments) == (16, 28)
    assert measured(overlapping).endswith("28 segments of 3 s, overlapping by half, in 4 videos.")
    assert min(found.text_to_video.r1, found.video_to_text.r1) >= 70
    assert min(found.text_to_video.r5, found.video_to_text.r5) >= 90


def test_the_right_video_at_the_wrong_time_is_wrong(moments: list[Pair], tiny_encoder: Encoder) -> None:
    shifted = [
        dataclasses.replace(pair, start=(pair.start + 3) % 12, end=(pair.start + 3) % 12 + 3) for pair in moments
    ]
    assert verdict(shifted, tiny_encoder, segment_length=3).retrieval["it"].text_to_video.r1 <= 25
    anywhere = [whole(pair.path, pair.caption) for pair in moments]
    assert verdict(anywhere, tiny_encoder, segment_length=3).retrieval["it"].text_to_video.r1 >= 70


def test_any_segment_of_a_moment_is_right_and_the_best_one_counts(moments: list[Pair], tiny_encoder: Encoder) -> None:
    few = moments[:8]
    broad = [dataclasses.replace(pair, end=min(pair.end + 3, 12)) for pair in few]
    exact, wide = (verdict(pairs, tiny_encoder, segment_length=3).retrieval["it"] for pairs in (few, broad))
    assert wide.text_to_video.mean <= exact.text_to_video.mean


def test_captions_of_one_moment_do_not_stand_in_each_others_way(moments: list[Pair], tiny_encoder: Encoder) -> None:
    pairs = [*moments, *(dataclasses.replace(pair, caption=f"now {pair.caption}") for pair in moments)]
    judged = verdict(pairs, tiny_encoder, segment_length=3)
    assert (judged.captions, judged.moments) == (32, 16)
    assert judged.retrieval["it"].video_to_text.count == 16
    assert judged.retrieval["it"].video_to_text.r1 >= 70


def test_a_caption_without_a_moment_is_right_anywhere_in_its_video(moments: list[Pair], tiny_encoder: Encoder) -> None:
    first, *others = moments
    mixed = [whole(first.path, moments[2].caption), *(pair for pair in others if pair is not moments[2])]
    judged = verdict(mixed, tiny_encoder, segment_length=3)
    assert (judged.captions, judged.moments) == (15, 15)
    assert judged.retrieval["it"].text_to_video.r1 >= 70


# Cost, limits, failures


def test_progress_counts_videos_and_footage(drawn: list[Pair], tiny_encoder: Encoder) -> None:
    few = drawn[:6]
    progress = [event for event in evaluate(few, {"it": tiny_encoder}) if isinstance(event, Progress)]
    assert [event.done_files for event in progress] == sorted(event.done_files for event in progress)
    assert (progress[-1].done_files, progress[-1].total_files) == (6, 6)
    footage = sum(pair.end for pair in few)
    assert progress[-1].done_seconds == pytest.approx(footage)
    assert progress[-1].total_seconds == pytest.approx(footage)


def test_videos_are_read_once_for_encoders_that_look_at_the_same_frames(
    drawn: list[Pair], tiny_encoder: Encoder, mean_encoder: Encoder
) -> None:
    few = drawn[:4]
    other = load_encoder("tiny", encoder="mean", device="cpu", num_frames=6)
    same = [event for event in evaluate(few, {"a": tiny_encoder, "b": mean_encoder}) if isinstance(event, Progress)]
    both = [event for event in evaluate(few, {"a": mean_encoder, "b": other}) if isinstance(event, Progress)]
    assert (same[-1].total_files, both[-1].total_files) == (4, 8)
    assert both[-1].done_files == 8


def test_what_a_clip_costs_is_told_of_each_encoder(
    drawn: list[Pair], tiny_encoder: Encoder, mean_encoder: Encoder
) -> None:
    few = load_encoder("tiny", encoder="mean", device="cpu", num_frames=6)
    judged = verdict(drawn[:2], {"tempme": tiny_encoder, "mean": mean_encoder, "few": few})
    assert list(judged.costs) == ["tempme", "mean", "few"]
    assert (judged.costs["mean"].tokens, judged.costs["few"].tokens) == (600, 300)
    assert judged.costs["mean"].flops == 2 * judged.costs["few"].flops > judged.costs["tempme"].flops
    assert all(cost.seconds > 0 for cost in judged.costs.values())
    assert judged.clips_at_a_time == tiny_encoder.lanes


def test_encoders_that_make_the_same_vectors_cost_the_same(drawn: list[Pair], tiny_encoder: Encoder) -> None:
    costs = verdict(drawn[:2], {"a": tiny_encoder, "b": tiny_encoder}).costs
    assert costs["a"] == costs["b"]


def test_the_order_of_the_pairs_makes_no_difference(moments: list[Pair], tiny_encoder: Encoder) -> None:
    one, other = (verdict(pairs, tiny_encoder, segment_length=3) for pairs in (moments[:8], moments[7::-1]))
    for there, back in zip(
        dataclasses.astuple(one.retrieval["it"]), dataclasses.astuple(other.retrieval["it"]), strict=True
    ):
        assert there == pytest.approx(back)


def test_too_little_to_tell_apart_is_refused(drawn: list[Pair]) -> None:
    first, second, *_ = drawn
    with pytest.raises(BadInput, match="two captions or more, and there are none"):
        check_pairs([])
    with pytest.raises(BadInput, match="two captions or more, and there is 1"):
        check_pairs([first])
    with pytest.raises(BadInput, match=f"all captions are of {first.path}"):
        check_pairs([first, dataclasses.replace(second, path=first.path, end=first.end)])
    check_pairs([first, second])


def test_a_video_that_is_gone_is_named_with_its_line(drawn: list[Pair], tiny_encoder: Encoder, tmp_path: Path) -> None:
    gone = dataclasses.replace(drawn[0], path=tmp_path / "gone.mp4", line=9)
    with pytest.raises(BadInput, match=r"gone\.mp4 \(line 9\) cannot be read: No such file"):
        verdict([*drawn[:2], gone], tiny_encoder)


# Which encoders


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two adapters, one for the tiny model and one for another."""
    monkeypatch.setenv("VIDFIND_HOME", str(tmp_path / "home"))
    save_adapter(adapter_path("mine"), kind="text", scale=1.0)
    save_adapter(adapter_path("big"), model="ViT-B-16", pretrained="theirs")
    return tmp_path / "home"


INDEX = EncoderIdentity("ViT-B-16", "laion2b_s34b_b88k", "digest", "tempme", "holiday", 12)
OF_MEAN = dataclasses.replace(INDEX, encoder="mean")
OF_INDEX = ("ViT-B-16", "laion2b_s34b_b88k")
OF_MINE = ("tiny", "builtin")
Choice = EncoderChoice
WITHOUT = Choice(adapter=NO_ADAPTER)
on_cpu = functools.partial(load_choice, device="cpu")


@pytest.mark.parametrize(
    ("names", "asked", "ours", "chosen"),
    [
        ([], Choice(), None, {"tempme": Choice()}),
        ([], Choice("tiny"), None, {"tempme": Choice("tiny")}),
        ([], Choice(encoder="mean"), None, {"mean": Choice(encoder="mean")}),
        ([], Choice(adapter="mine"), None, {"mine": Choice(*OF_MINE, adapter="mine")}),
        ([], Choice(adapter="mine"), INDEX, {"mine": Choice(*OF_MINE, adapter="mine")}),
        ([], WITHOUT, INDEX, {"tempme": Choice(*OF_INDEX, "tempme", NO_ADAPTER)}),
        ([], WITHOUT, OF_MEAN, {"mean": Choice(*OF_INDEX, "mean", NO_ADAPTER)}),
        ([], Choice(encoder="mean"), INDEX, {"mean": Choice(*OF_INDEX, "mean")}),
        ([], Choice("tiny"), INDEX, {"tempme": Choice("tiny")}),
        ([], Choice(pretrained="openai"), INDEX, {"tempme": Choice("ViT-B-16", "openai")}),
        (["tempme", "mean"], Choice(), INDEX, {name: Choice(*OF_INDEX, name) for name in ("tempme", "mean")}),
        (
            ["mean", "mine"],
            Choice(),
            INDEX,
            {"mean": Choice(*OF_MINE, "mean"), "mine": Choice(*OF_MINE, adapter="mine")},
        ),
        (["big"], Choice("tiny"), None, {"big": Choice("tiny", adapter="big")}),
    ],
    ids=[
        *["nothing", "model", "encoder", "adapter", "adapter-over-index", "no-adapter", "no-adapter-of-mean"],
        "encoder-of-index",
        *["other-model", "other-weights", "compare", "compare-adapter", "adapter-of-another-model"],
    ],
)
def test_what_is_not_chosen_comes_from_the_adapter_then_the_index(
    home: Path, names: list[str], asked: Choice, ours: EncoderIdentity | None, chosen: dict[str, Choice]
) -> None:
    assert choose_encoders(names, asked, ours, Path("own.safetensors")) == chosen


def test_the_encoder_of_the_index_is_judged_with_the_adapter_it_keeps(home: Path) -> None:
    own = home / "own copy.safetensors"
    save_adapter(own, model="ViT-B-16", pretrained="theirs")
    chosen = choose_encoders([], Choice(), INDEX, own)
    assert chosen == {"holiday": Choice("ViT-B-16", "theirs", "tempme", own)}


def test_a_name_that_nothing_has_is_refused_with_those_there_are(home: Path) -> None:
    with pytest.raises(BadInput, match=r"no adapter 'fast' \(there is: big, mine\)\. The encoders are: tempme, "):
        choose_encoders(["mean", "fast"], Choice())


def test_an_adapter_of_the_words_alone_is_judged_on_the_same_video_vectors(
    home: Path, drawn: list[Pair], tiny_encoder: Encoder
) -> None:
    choices = choose_encoders(["tempme", "mine"], Choice())
    encoders = {name: on_cpu(choice) for name, choice in choices.items()}
    found = verdict(drawn[:5], encoders).retrieval
    alone = verdict(drawn[:5], {"mine": encoders["mine"]}).retrieval
    assert found["mine"] == alone["mine"]
    assert found["tempme"] == verdict(drawn[:5], tiny_encoder).retrieval["it"]
    assert found["mine"] != found["tempme"]  # its weights are noise


def test_encoders_without_an_adapter_share_one_model_and_make_the_vectors_of_models_of_their_own(
    home: Path, drawn: list[Pair]
) -> None:
    names = ["mean", "mine", "tempme", "centerclip"]
    encoders = load_encoders(choose_encoders(names, Choice()), on_cpu)
    assert list(encoders) == names
    assert encoders["mean"].model is encoders["tempme"].model is encoders["centerclip"].model
    assert encoders["mine"].model is not encoders["mean"].model
    own = {name: load_encoder("tiny", encoder=name, device="cpu") for name in ("mean", "tempme", "centerclip")}
    shared, alone = (verdict(drawn[:5], {name: some[name] for name in own}).retrieval for some in (encoders, own))
    assert shared == alone
    assert {name: one.identity for name, one in encoders.items() if name in own} == {
        name: one.identity for name, one in own.items()
    }


@pytest.fixture
def sentences(home: Path) -> Path:
    """The home with adapters of tfvl too, the last of tiny not the last by name; and one for another model."""
    save_adapter(adapter_path("old"), kind="frozen", created="2026-03-01T00:00:00+00:00")
    save_adapter(adapter_path("new"), kind="frozen", created="2026-03-02T00:00:00+00:00")
    save_adapter(adapter_path("other"), kind="frozen", model="ViT-B-16", pretrained="theirs", created="2026-03-03")
    return home


@pytest.mark.parametrize(
    ("names", "asked"),
    [(["tfvl"], Choice("tiny")), ([], Choice("tiny", encoder="tfvl")), (["mine", "tfvl"], Choice())],
    ids=["compare", "encoder", "model-of-another-adapter"],
)
def test_tfvl_is_judged_with_its_latest_adapter_of_the_model(sentences: Path, names: list[str], asked: Choice) -> None:
    said: list[str] = []
    chosen = choose_encoders(names, asked, announce=said.append)["tfvl"]
    assert (chosen.model, chosen.encoder, chosen.adapter) == ("tiny", "tfvl", "new")
    assert said == ["tfvl is judged with its latest adapter, 'new' of 2026-03-02."]


def test_an_adapter_of_tfvl_that_is_named_is_that_one(sentences: Path) -> None:
    said: list[str] = []
    asked = Choice(encoder="tfvl", adapter="old")
    assert choose_encoders([], asked, announce=said.append)["old"].adapter == "old"
    assert list(choose_encoders(["old", "new"], Choice(), announce=said.append)) == ["old", "new"]
    assert said == []


def test_an_adapter_made_with_a_file_of_weights_is_known_by_another_path_to_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TINY_WEIGHTS, tmp_path / "w.safetensors")
    digest = weights_digest("ViT-B-16", tmp_path / "w.safetensors")
    made: dict[str, Any] = {"model": "ViT-B-16", "pretrained": "w.safetensors", "weights_digest": digest}
    save_adapter(adapter_path("mine"), kind="frozen", **made)
    asked = Choice("ViT-B-16", str(tmp_path / "w.safetensors"))
    assert choose_encoders(["tfvl"], asked)["tfvl"].adapter == "mine"


def test_tfvl_without_an_adapter_of_the_model_is_refused_with_the_command_that_makes_one(sentences: Path) -> None:
    with pytest.raises(ModelUnavailable) as refused:
        choose_encoders(["mean", "tfvl"], Choice())
    assert "there is no adapter of it for ViT-B-32 / laion2b_s34b_b79k (there is: new of tiny / builtin, " in str(
        refused.value
    )
    assert str(refused.value).endswith("To make one: vidfind finetune --pairs FILE --encoder tfvl --name NAME")
    with pytest.raises(ModelUnavailable, match="--encoder tfvl --name NAME --model ViT-B-16 --pretrained openai"):
        choose_encoders([], Choice(pretrained="openai", encoder="tfvl"), INDEX)


def test_tfvl_with_an_adapter_is_judged_beside_plain_clip(sentences: Path, drawn: list[Pair]) -> None:
    encoders = load_encoders(choose_encoders(["mean", "tfvl"], Choice("tiny")), on_cpu)
    judged = verdict(drawn[:6], encoders)
    assert judged.retrieval["mean"] != judged.retrieval["tfvl"]
    assert judged.costs["tfvl"].flops > judged.costs["mean"].flops


def test_captions_with_a_word_are_judged_by_themselves(drawn: list[Pair], tiny_encoder: Encoder) -> None:
    *_, last = evaluate(drawn[:6], {"it": tiny_encoder}, words=["circle", "zorp"])
    assert isinstance(last, Verdict)
    count = sum("circle" in pair.caption for pair in drawn[:6])
    assert count and {word: found.captions for word, found in last.words.items()} == {"circle": count}
    assert 0 <= last.words["circle"].first["it"] <= count
