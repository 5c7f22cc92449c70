"""Fine-tuning: the authors' numbers, what is trained and what is left alone, and that it learns."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from tests.support.golden_clip import golden_adapter, golden_clips, golden_model, golden_part, load_golden
from tests.support.gradients import gradient
from tests.support.rounding import rounding
from vidfind.demo.collection import draw_collection
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderChoice, EncoderIdentity
from vidfind.errors import BadInput, BadPairs
from vidfind.media.probe import probe
from vidfind.models.adapter_file import from_tempme, read_adapter, write_adapter
from vidfind.models.load import load_encoder, load_for_training
from vidfind.text.padded import clip_tokenizer
from vidfind.training import finetune
from vidfind.training.finetune import FineTuning
from vidfind.training.optimize import Stepped, backward_in_chunks, contrastive_loss, make_optimizer, rate_factor
from vidfind.training.pairs import Pair, false_negative_mask, split_pairs
from vidfind.training.recall import Judged, Retrieval, Validated, recall_of
from vidfind.training.recipe import Recipe
from vidfind.training.trainable import prepare

GOLDEN = "tempme_tiny_b32_8f"


def golden_training(recipe: Recipe) -> tuple[Encoder, dict[str, torch.nn.Parameter]]:
    """The authors' model, going on from their adapter."""
    golden = load_golden(GOLDEN)
    identity = EncoderIdentity("golden", "golden", "", "tempme", None, golden["frames"].shape[1])
    encoder = Encoder(golden_model(golden), clip_tokenizer(), identity)
    trained, kept = prepare(encoder, recipe, golden_adapter(golden))
    assert kept == {}
    return encoder, trained


def golden_backward(encoder: Encoder, size: int) -> float:
    golden = load_golden(GOLDEN)
    scale = encoder.model.logit_scale.detach().exp()
    video = [partial(encoder.video_features, part) for part in torch.split(golden_clips(golden), size)]
    text = [partial(encoder.text_features, part) for part in torch.split(torch.tensor(golden["text_ids"]), size)]
    parameters = [p for p in (*encoder.model.parameters(), *encoder.parameters.values()) if p.requires_grad]
    return backward_in_chunks(video, text, lambda v, t: contrastive_loss(v, t, scale), parameters).item()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["activations kept", "checkpointing"])
@pytest.mark.parametrize("size", [1, 100], ids=["chunks of one clip", "all at once"])
def test_loss_gradients_and_one_step_equal_the_authors(size: int, checkpointing: bool) -> None:
    golden = load_golden(GOLDEN)
    recipe = Recipe()
    encoder, trained = golden_training(recipe)
    encoder.checkpointing = checkpointing
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    scale = encoder.model.logit_scale.exp().item()
    assert golden_backward(encoder, size) == pytest.approx(float(golden["loss"]), abs=rounding(scale))

    norms = {key.removeprefix("grad_norm/"): float(value) for key, value in golden.items() if "grad_norm/" in key}
    gradients = from_tempme(golden_part(golden, "grad")).tensors
    for name, expected in gradients.items():
        assert (gradient(trained[name]) - expected).norm() <= 1e-3 * expected.norm(), name

    total = float(np.sqrt(sum(norm**2 for norm in norms.values())))
    assert torch.nn.utils.clip_grad_norm_(trained.values(), 1.0).item() == pytest.approx(total, rel=1e-3)
    optimizer = make_optimizer(trained, recipe, steps=1)
    optimizer.step()
    for name, of_authors in gradients.items():
        # AdamW's first step, written out: the moments are the gradient and its square.
        clipped = of_authors * min(1.0, 1.0 / total)
        expected = before[name] * (1 - 6e-4 * 0.2) - 6e-4 * clipped / (clipped.abs() + 1e-8)
        step, ours = expected - before[name], trained[name].detach() - before[name]
        assert (ours - step).norm() <= 1e-3 * step.norm(), name


def test_chunks_give_the_gradients_of_the_whole_batch() -> None:
    encoder, trained = golden_training(Recipe())
    golden_backward(encoder, 100)
    whole = {name: gradient(parameter).clone() for name, parameter in trained.items()}
    for parameter in trained.values():
        parameter.grad = None
    golden_backward(encoder, 1)
    for name, parameter in trained.items():
        assert (gradient(parameter) - whole[name]).norm() <= 1e-5 * whole[name].norm() + 1e-9, name


def test_as_many_parameters_are_trained_as_in_the_paper() -> None:
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
    model.visual.image_mean, model.visual.image_std = (0.5,) * 3, (0.5,) * 3
    identity = EncoderIdentity("ViT-B-32", "", "", "tempme", None, 12)
    trained, _ = prepare(Encoder(model, clip_tokenizer(), identity, device="meta"), Recipe(), None)
    assert sum(parameter.numel() for parameter in trained.values()) == 507_648
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        f"{name[:-7]}.parametrizations.in_proj_weight.0.{name[-1]}" for name in trained if "lora" in name
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Ten drawn videos with captions that are exchanged in pairs: to be learned against all it knows."""
    drawn = draw_collection(tmp_path_factory.mktemp("drawn"), 10, seed=3)
    captions = [caption for _, caption in drawn]
    captions[::2], captions[1::2] = captions[1::2], captions[::2]
    return [
        Pair(path, caption, 0.0, probe(path).duration, False, line)
        for line, ((path, _), caption) in enumerate(zip(drawn, captions, strict=True), start=2)
    ]


def load_few(adapter: Path | None = None, encoder: str = "tempme") -> Encoder:
    """The built-in model for as few frames as TempMe can join: each step takes as long as there are frames."""
    return load_encoder("tiny", adapter=adapter, encoder=encoder, num_frames=8, device="cpu", dtype="float32")


@pytest.fixture
def fresh() -> Iterator[Encoder]:
    """The built-in model for a few frames, to be changed."""
    yield load_few()


def train(pairs: list[Pair], encoder: Encoder, recipe: Recipe) -> tuple[FineTuning, list[float]]:
    """Trains, and judges the held-out pairs just twice, as that takes longer than the steps."""
    recipe = dataclasses.replace(recipe, max_drift=1.0)
    with pytest.MonkeyPatch.context() as patch, FineTuning(pairs, encoder, recipe) as training:
        patch.setattr(finetune, "VALIDATIONS", 2)
        losses = [event.loss for event in training.run() if isinstance(event, Stepped)]
    return training, losses


def test_a_few_steps_lower_the_loss_and_the_saved_adapter_gives_the_same_vectors(
    pairs: list[Pair], fresh: Encoder, tmp_path: Path
) -> None:
    base = copy.deepcopy(fresh.model.state_dict())
    training, losses = train(pairs, fresh, Recipe(epochs=10, learning_rate=4e-3))
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < 0.92 * np.mean(losses[:2])

    adapter = training.adapter("home", "digest")
    assert adapter and adapter.info and (adapter.info.num_pairs, adapter.info.metrics["pairs"]) == (6, 4)
    write_adapter(tmp_path / "home.safetensors", adapter)
    loaded = load_few(tmp_path / "home.safetensors")
    clips = torch.randint(0, 256, (2, 8, 56, 56, 3), dtype=torch.uint8)
    words = ["a red circle moves left", "two stars"]
    trained, _ = prepare(again := load_few(), Recipe(), adapter)
    assert set(trained) == set(adapter.tensors)
    torch.testing.assert_close(loaded.encode_video(clips), again.encode_video(clips), atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded.encode_text(words), again.encode_text(words), atol=1e-5, rtol=0)
    assert (loaded.encode_text(words) - load_encoder("tiny", device="cpu").encode_text(words)).abs().max() > 0.01

    now = fresh.model.state_dict()
    for name, tensor in base.items():
        kept = now.get(name, now.get(name.replace("in_proj_weight", "parametrizations.in_proj_weight.original")))
        assert torch.equal(tensor, kept), name


@pytest.mark.parametrize("name", ["mean", "tome", "tempme-fast", "centerclip", "tfvl"])
def test_every_encoder_learns_and_its_adapter_gives_what_was_learned(
    pairs: list[Pair], tmp_path: Path, name: str
) -> None:
    encoder, _ = load_for_training(EncoderChoice("tiny", encoder=name, num_frames=8), device="cpu")
    training, losses = train(pairs, encoder, Recipe(epochs=4, learning_rate=4e-3, distill_weight=0.0))
    assert losses[-1] < 0.95 * losses[0]
    adapter = training.adapter("it")
    assert adapter and adapter.info
    assert (adapter.info.encoder, adapter.info.num_frames) == (name, 8)
    assert (adapter.info.kind, adapter.info.rank) == (("frozen", 0) if name == "tfvl" else ("lora", 8))
    write_adapter(tmp_path / "it.safetensors", adapter)
    loaded = load_encoder("tiny", adapter=tmp_path / "it.safetensors", device="cpu", dtype="float32")
    again, _ = load_for_training(EncoderChoice("tiny", encoder=name, num_frames=8), device="cpu")
    prepare(again, Recipe(), adapter)
    clips = torch.randint(0, 256, (2, 8, 56, 56, 3), dtype=torch.uint8)
    torch.testing.assert_close(loaded.encode_video(clips), again.encode_video(clips), atol=1e-5, rtol=0)
    plain = load_few(encoder="mean")
    assert (loaded.encode_video(clips) - plain.encode_video(clips)).abs().max() > 1e-3
    text_is_plain = torch.equal(loaded.encode_text(["a star"]), plain.encode_text(["a star"]))
    assert text_is_plain == (name == "tfvl")  # which leaves both towers as they are


@pytest.mark.parametrize("recipe", [Recipe(full=True), Recipe(text_only=True), Recipe(rank=4)])
def test_what_leaves_the_model_as_it_is_takes_no_options_that_change_it(pairs: list[Pair], recipe: Recipe) -> None:
    encoder, _ = load_for_training(EncoderChoice("tiny", encoder="tfvl"), device="cpu")
    with pytest.raises(BadInput, match="tfvl leaves the model as it is"):
        FineTuning(pairs, encoder, recipe)


def test_prompts_are_not_decayed() -> None:
    encoder, _ = load_for_training(EncoderChoice("tiny", encoder="tfvl"), device="cpu")
    trained, _ = prepare(encoder, Recipe(), None)
    optimizer = make_optimizer(trained, Recipe(), steps=1)
    decay = {id(p): group.decay for group in optimizer.groups for p in group.parameters}
    decayed = {name for name, p in trained.items() if decay[id(p)]}
    assert decayed == {"visual.word_projection"} and len(trained) == 7


def test_what_has_learned_nothing_yet_is_judged_as_plain_clip(pairs: list[Pair]) -> None:
    judged = []
    for name in ("tfvl", "mean"):
        encoder, _ = load_for_training(EncoderChoice("tiny", encoder=name), device="cpu")
        with FineTuning(pairs, encoder) as training, closing(training.run()) as events:
            judged.append(next(event for event in events if isinstance(event, Validated)))
    assert judged[0] == judged[1]


def test_the_seed_draws_the_noise_that_training_starts_from() -> None:
    started = []
    for seed in (1, 1, 2):
        encoder, _ = load_for_training(EncoderChoice("tiny", encoder="tfvl"), device="cpu")
        torch.manual_seed(seed)
        trained, _ = prepare(encoder, Recipe(), None)
        started.append(trained["visual.word_projection"])
    assert torch.equal(started[0], started[1]) and not torch.equal(started[0], started[2])


def test_text_only_leaves_videos_bit_by_bit_as_they_are(pairs: list[Pair], fresh: Encoder, tmp_path: Path) -> None:
    training, losses = train(pairs, fresh, Recipe(epochs=20, learning_rate=2e-3, text_only=True))
    assert losses[-1] < losses[0]
    adapter = training.adapter("names")
    assert adapter and all(not name.startswith("visual.") for name in adapter.tensors)
    write_adapter(tmp_path / "names.safetensors", adapter)
    plain, tuned = load_few(), load_few(tmp_path / "names.safetensors")
    clips = torch.randint(0, 256, (2, 8, 56, 56, 3), dtype=torch.uint8)
    assert torch.equal(plain.encode_video(clips), tuned.encode_video(clips))
    assert plain.identity.weights_digest == tuned.identity.weights_digest
    assert not torch.equal(plain.encode_text(["a star"]), tuned.encode_text(["a star"]))


def test_text_only_goes_on_from_an_adapter_and_keeps_its_videos(
    pairs: list[Pair], fresh: Encoder, tmp_path: Path
) -> None:
    training, _ = train(pairs, fresh, Recipe(epochs=3, learning_rate=2e-3, rank=4))
    first = training.adapter("first")
    assert first
    write_adapter(tmp_path / "first.safetensors", first)
    again = load_few()
    recipe = Recipe(epochs=3, learning_rate=2e-3, text_only=True)
    with FineTuning(pairs, again, recipe, start=read_adapter(tmp_path / "first.safetensors")) as going_on:
        for _ in going_on.run():
            pass
    second = going_on.adapter("second")
    assert second and set(second.tensors) == set(first.tensors)
    assert second.info and second.info.rank == 4
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name]) == name.startswith("visual."), name


def test_full_fine_tuning_saves_whole_weights_that_give_the_same_vectors(
    pairs: list[Pair], fresh: Encoder, tmp_path: Path
) -> None:
    training, losses = train(pairs, fresh, Recipe(epochs=10, learning_rate=2e-2, full=True))
    assert np.mean(losses[-3:]) < np.mean(losses[:2])
    adapter = training.adapter("all")
    assert adapter and adapter.info and adapter.info.kind == "full"
    assert {"visual.proj", "token_embedding.weight", "visual.transformer.resblocks.2.temporal_position"} <= set(
        adapter.tensors
    )
    assert "logit_scale" not in adapter.tensors
    write_adapter(tmp_path / "all.safetensors", adapter)
    loaded = load_few(tmp_path / "all.safetensors")
    with torch.no_grad():
        for name, parameter in training.encoder.model.named_parameters():
            if name in adapter.tensors:
                parameter.copy_(adapter.tensors[name])
        for name, position in adapter.parameters().items():
            training.encoder.parameters[name].copy_(position)
    clips = torch.randint(0, 256, (2, 8, 56, 56, 3), dtype=torch.uint8)
    torch.testing.assert_close(loaded.encode_video(clips), training.encoder.encode_video(clips), atol=1e-5, rtol=0)


def test_stopped_early_it_keeps_the_best_state_so_far(pairs: list[Pair], fresh: Encoder) -> None:
    with FineTuning(pairs, fresh, Recipe(epochs=12)) as training:
        assert training.adapter("home") is None
        validated = []
        for event in training.run():
            if isinstance(event, Validated):
                validated.append(event)
                if len(validated) == 4:
                    break
    best = [event for event in validated if event.is_best][-1]
    assert training.before == validated[0].retrieval
    assert training.after == best.retrieval
    adapter = training.adapter("home")
    assert adapter and adapter.info and adapter.info.metrics["after"] == best.retrieval.as_dict()


def test_a_state_in_which_clearly_more_captions_find_their_video_is_better(pairs: list[Pair], fresh: Encoder) -> None:
    with FineTuning(pairs, fresh, Recipe(text_only=True)) as training:
        found = Retrieval(recall_of(np.ones(20)), recall_of(np.ones(20)))
        none, most = np.zeros(20, bool), np.arange(20) < 10
        for before, after, is_better in ((none, most, True), (most, none, False), (most, most, False)):
            training._first, training._best_key = before, -np.inf
            assert training._remember_best(Judged(found, 0.0, after, {}))
            assert training.is_better is is_better


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(text_only=True), Recipe(full=True)], ids=["LoRA", "text", "full"])
def test_weights_that_stay_frozen_are_in_memory_once(pairs: list[Pair], fresh: Encoder, recipe: Recipe) -> None:
    with FineTuning(pairs, fresh, recipe) as training:
        before = dict(training._before.model.named_parameters())
    for name, weight in fresh.model.named_parameters():
        assert (before[name] is weight) == (not weight.requires_grad), name


@pytest.mark.parametrize(
    ("encoder", "recipe", "frozen"),
    [("tempme", Recipe(text_only=True), "video_features"), ("tfvl", Recipe(), "text_features")],
    ids=["clips of --text-only", "captions of tfvl"],
)
def test_features_of_a_frozen_tower_are_computed_once(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, encoder: str, recipe: Recipe, frozen: str
) -> None:
    computed = []
    of_tower = getattr(Encoder, frozen)

    def counted(self: Encoder, part: torch.Tensor) -> torch.Tensor:
        computed.append(len(part))
        features: torch.Tensor = of_tower(self, part)
        return features

    monkeypatch.setattr(Encoder, frozen, counted)
    base, _ = load_for_training(EncoderChoice("tiny", encoder=encoder, num_frames=8), device="cpu")
    with FineTuning(pairs[:8], base, recipe) as training:
        list(training._decode())
        for _ in range(3):
            training.backward(training.training)
        assert sum(computed) == len(training.training) == 4


def test_it_stops_by_itself_when_nothing_gets_better(pairs: list[Pair], fresh: Encoder) -> None:
    with FineTuning(pairs, fresh, Recipe(learning_rate=0.0, text_only=True)) as training:
        events = list(training.run())
    steps = [event for event in events if isinstance(event, Stepped)]
    assert len(steps) < steps[0].steps == 60


def test_clips_that_cannot_be_decoded_are_all_named_before_training(
    pairs: list[Pair], fresh: Encoder, tmp_path: Path
) -> None:
    broken = [
        Pair(tmp_path / f"{n}.mp4", f"a star number {n}", 0.0, 1.0, False, line) for n, line in enumerate((70, 71))
    ]
    with pytest.raises(BadPairs) as raised, FineTuning([*pairs, *broken], fresh) as training:
        for event in training.run():
            assert not isinstance(event, Stepped)
    assert sorted(bad.line for bad in raised.value.bad) == [70, 71]
    assert any("0.mp4" in bad.reason for bad in raised.value.bad)


def test_clips_that_cannot_be_decoded_are_left_out_on_demand(pairs: list[Pair], fresh: Encoder, tmp_path: Path) -> None:
    broken = Pair(tmp_path / "no.mp4", "a star that is not there", 0.0, 1.0, False, 70)
    with FineTuning([*pairs, broken], fresh, Recipe(epochs=1), skip_bad=True) as training:
        events = list(training.run())
    assert [bad.line for bad in training.bad] == [70]
    assert any(isinstance(event, Stepped) for event in events)
    assert len(training.training) + len(training.held_out) == len(pairs)


def pair(path: str, caption: str = "", start: float = 0.0, end: float = 5.0) -> Pair:
    return Pair(Path(path), caption or f"what {path} shows", start, end, start > 0, 1)


def test_pairs_are_held_out_by_video_and_never_fewer_than_four() -> None:
    pairs = [pair(f"{n}.mp4", f"caption {m} of {n}", m, m + 1) for n in range(10) for m in range(3)]
    for val, least in ((0.1, 4), (0.5, 15)):
        training, held_out = split_pairs(pairs, val, seed=1)
        assert sorted((p.path, p.start) for p in training + held_out) == sorted((p.path, p.start) for p in pairs)
        assert not {p.path for p in training} & {p.path for p in held_out}
        assert least <= len(held_out) <= least + 2
    assert split_pairs(pairs, 0.1, seed=1) == split_pairs(pairs, 0.1, seed=1) != split_pairs(pairs, 0.1, seed=2)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([pair(f"{n}.mp4") for n in range(7)], "Too few pairs to learn from: 7.*least 8"),
        ([pair("one.mp4", f"caption {n}") for n in range(20)], "of 1 video:.*Caption more"),
        ([pair(f"{n}.mp4", "the same") for n in range(20)], "same caption"),
    ],
    ids=["too few", "one video", "one caption"],
)
def test_what_nothing_can_be_learned_from_is_refused_with_advice(pairs: list[Pair], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        split_pairs(pairs, 0.1, seed=1)


def test_captions_of_one_video_and_equal_captions_are_not_set_against_each_other() -> None:
    same = false_negative_mask(
        [pair("a.mp4", "Rex"), pair("a.mp4", "a dog"), pair("b.mp4", "  rex "), pair("c.mp4", "a cat")]
    )
    assert same.tolist() == [
        [True, True, True, False],
        [True, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


def test_the_learning_rate_rises_for_a_tenth_of_the_steps_and_falls_to_nothing() -> None:
    factors = [rate_factor(100, 0.1, step) for step in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert max(factors) == 1.0
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert factors[-1] < 1e-3
