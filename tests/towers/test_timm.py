"""timm's towers in the loop: against open_clip's own forward pass, by properties of merging, and with LoRA."""

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import vidfind.towers.patches as patches_module
import vidfind.towers.timm as timm_module
from tests.support.timm_towers import DIM, PATCHES, PE, SIZE, TRUNKS, SmallTower, small_model
from vidfind.encoders.backbone import Backbone, keep_before_block, keep_before_mlp
from vidfind.encoders.centerclip import centerclip_reduction
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tempme import position_name
from vidfind.encoders.tome import tome_reduction
from vidfind.errors import UnsupportedModel
from vidfind.models.adapter_file import Adapter
from vidfind.models.lora import attach_lora, fold_adapter
from vidfind.text.padded import clip_tokenizer
from vidfind.towers.families import image_tower
from vidfind.towers.loop import Reduction, encode_frames
from vidfind.towers.timm import TimmTower
from vidfind.towers.tokens import Tokens, join

NOTHING = Reduction(keep_before_block, keep_before_mlp, lambda read, projected: projected)
ROTARY = ("PE", "EVA02")


@pytest.fixture(params=TRUNKS)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.randint(0, 256, (4, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def encode_image(model: Any, frames: Tensor) -> Tensor:
    """Unit vectors of frames by open_clip's own forward pass."""
    mean, std = (torch.tensor(x) for x in (model.visual.image_mean, model.visual.image_std))
    vectors: Tensor = model.encode_image(((frames / 255 - mean) / std).permute(0, 3, 1, 2), normalize=True)
    return vectors


def through(tower: TimmTower, x: Tensor, reduction: Reduction = NOTHING, **state: Any) -> Tensor:
    """Unit vectors of tokens (S, N, C) before the first block, read at the end."""
    tokens = replace(Tokens(x, None, tower.num_cls, 1), **state)
    for i in range(tower.depth):
        tokens = reduction.before_block(i, tokens)
        added, keys = tower.add_attention(i, tokens)
        tokens = reduction.before_mlp(i, replace(tokens, x=added), keys)
        tokens = replace(tokens, x=tower.add_mlp(i, tokens.x))
    return F.normalize(tower.project(tower.read(tokens)), dim=-1)


def tower_of(model: Any) -> TimmTower:
    tower = image_tower(model)
    assert isinstance(tower, TimmTower)
    return tower


@torch.inference_mode()
def test_with_nothing_merged_each_family_equals_open_clips_own_encode_image(family: str, frames: Tensor) -> None:
    model = small_model(family)
    read = encode_frames(tower_of(model), frames, NOTHING, num_frames=1)
    vectors = F.normalize(tower_of(model).project(read), dim=-1)[:, 0]
    expected = encode_image(model, frames)
    assert F.cosine_similarity(expected[0], expected[1], dim=0) < 0.99  # the weights tell frames apart
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)


def without_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_module, "rotate", lambda x, rotations: x)


def without_bias_of_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = patches_module.fold_normalisation

    def folded(conv: Any, *how: Any) -> Any:
        plain = copy.copy(conv)
        plain._parameters = {**conv._parameters, "bias": None}
        return fold(plain, *how)

    monkeypatch.setattr(patches_module, "fold_normalisation", folded)


def without_norm_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    made = timm_module.queries_keys_values
    monkeypatch.setattr(timm_module, "queries_keys_values", lambda attn, x: made(Bare(attn), x))


class Bare:
    """An attention without norms of queries and keys."""

    q_norm = k_norm = staticmethod(lambda x: x)

    def __init__(self, attn: Any) -> None:
        self._attn = attn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attn, name)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("PE", without_rotation),
        ("EVA02", without_rotation),
        ("SigLIP", without_bias_of_patches),
        ("EVA02", without_bias_of_patches),
        ("registers", without_norm_of_keys),
    ],
)
def test_a_tower_that_leaves_something_out_is_told_apart(
    name: str, breaks: Callable[[pytest.MonkeyPatch], None], frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(name)
    breaks(monkeypatch)
    tower = tower_of(model)
    vectors = F.normalize(tower.project(encode_frames(tower, frames, NOTHING, num_frames=1)), dim=-1)[:, 0]
    assert (vectors - encode_image(model, frames)).abs().max() > 1e-3


@torch.inference_mode()
def test_a_patch_that_comes_three_times_counts_as_one_of_size_three(
    family: str, frames: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = tower_of(small_model(family))
    c, (x, place) = tower.num_cls, tower.embed(frames)
    some = torch.randperm(PATCHES, generator=torch.Generator().manual_seed(2))[: PATCHES // 3]
    copies = torch.cat([x, *[x[:, c + some]] * 2], dim=1)
    places = None if place is None else torch.cat([place, *[place[:, some]] * 2], dim=1)
    size = torch.ones_like(x[..., :1])
    size[:, c + some] = 3
    expected = through(tower, copies, place=places)
    torch.testing.assert_close(through(tower, x, share=size, place=place), expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(timm_module, "key_bias", lambda tokens: None)
    assert (through(tower, x, share=size, place=place) - expected).abs().max() > 1e-3


@torch.inference_mode()
def test_equal_frames_that_are_joined_give_the_vector_of_one(family: str, frames: Tensor) -> None:
    """Also when each patch is merged with its copies in the other frames, and when each frame is read by itself."""
    tower = tower_of(small_model(family, depth=3))
    x, place = tower.embed(frames[:1])
    expected = through(tower, x, place=place)

    def join_frames(i: int, tokens: Tokens) -> Tokens:
        return join(tokens, 4) if i == 1 else tokens

    def merge_copies(i: int, tokens: Tokens) -> Tokens:
        if i != 1:
            return tokens
        joined = join(tokens, 4)
        end = joined.num_cls + PATCHES
        size = torch.ones(1, end, 1)
        size[:, joined.num_cls :] = 4
        place = None if joined.place is None else joined.place[:, :PATCHES]
        return replace(joined, x=joined.x[:, :end], share=size, place=place)

    x, place = x.repeat(4, 1, 1), None if place is None else place.repeat(4, 1)

    def join_apart(i: int, tokens: Tokens) -> Tokens:
        return join(tokens, 4, apart=True) if i == 1 else tokens

    for before_block in (join_frames, merge_copies, join_apart):
        reduction = replace(NOTHING, before_block=before_block)
        joined = through(tower, x, reduction, num_sequences=4, place=place)
        torch.testing.assert_close(joined, expected.expand_as(joined), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_tome_merges_half_of_the_patches_and_loses_none(family: str, frames: Tensor) -> None:
    tower = tower_of(small_model(family, depth=6))
    reduction = tome_reduction(Backbone(tower, 4, {}))
    seen: list[Tokens] = []

    def before_mlp(i: int, tokens: Tokens, keys: Tensor) -> Tokens:
        seen.append(reduction.before_mlp(i, tokens, keys))
        return seen[-1]

    encode_frames(tower, frames, replace(reduction, before_mlp=before_mlp), num_frames=4)
    c = tower.num_cls
    assert [tokens.x.shape[1] for tokens in seen] == [c + PATCHES - 4 * (i + 1) for i in range(6)]
    for tokens in seen:
        assert tokens.size is not None and (tokens.size.sum(dim=1) == c + PATCHES).all()
        assert (tokens.size[:, :c] == 1).all()
        if tokens.place is not None:
            assert all(len(set(places)) == len(places) for places in tokens.place.tolist())


@pytest.mark.parametrize("name", ROTARY)
@torch.inference_mode()
def test_what_is_merged_keeps_the_place_of_what_it_is_merged_into(name: str, frames: Tensor) -> None:
    tower = tower_of(small_model(name))
    x, place = tower.embed(frames)
    tokens = Tokens(x, None, tower.num_cls, 1, place)
    from vidfind.towers.tokens import merge

    numbered = torch.arange(float(x.shape[1]))[None, :, None].expand(len(x), -1, -1)
    order = merge(replace(tokens, x=numbered), x, 9)  # places as a mean would blur them
    assert order.place is not None and order.size is not None
    alone = order.size[:, tower.num_cls :, 0] == 1
    assert torch.equal(order.place[alone], order.x[:, tower.num_cls :, 0][alone].long() - tower.num_cls)
    assert ((order.place % 2 == 0) | alone).all()  # the first of two takes others in


def identity(encoder: str) -> EncoderIdentity:
    return EncoderIdentity("test", "random", "", encoder, None, 12)


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Twelve frames of coarse patches that change slowly."""
    rng = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 1, 7, 7, 3, generator=rng) * 200 + torch.rand(2, 12, 7, 7, 3, generator=rng) * 55
    return coarse.byte().repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


@pytest.mark.parametrize("name", ["mean", "tome", "centerclip", "tempme", "tempme-fast"])
@pytest.mark.parametrize("small", ["PE", "SigLIP"])
def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(small: str, name: str, clips: Tensor) -> None:
    encoder = Encoder(small_model(small, depth=6), clip_tokenizer(), identity("mean")).with_encoder(name)
    vectors = encoder.encode_video(clips)
    assert vectors.shape == (2, DIM)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(encoder.encode_video(clips[1:]), vectors[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["PE", "mean of patches"])
def test_pictures_have_the_size_that_the_tower_takes_whatever_the_configuration_says(name: str, clips: Tensor) -> None:
    """As with open_clip's ViTamin-XL-384. Once there was an error of tensors that do not fit."""
    model = small_model(name)
    if name == "mean of patches":  # runs whole
        model.visual.trunk.global_pool = "max"
    model.visual.image_size = (SIZE // 2, SIZE // 2)
    encoder = Encoder(model, clip_tokenizer(), identity("mean"))
    assert encoder.image_size == SIZE and encoder.encode_video(clips).shape == (2, DIM)
    model.visual.trunk.patch_embed.strict_img_size = False
    assert Encoder(model, clip_tokenizer(), identity("mean")).image_size == SIZE // 2


def test_a_tower_that_gives_a_vector_for_each_patch_is_refused(clips: Tensor) -> None:
    model = small_model("mean of patches")
    model.visual.trunk.global_pool = ""
    encoder = Encoder(model, clip_tokenizer(), identity("mean"))
    with pytest.raises(UnsupportedModel, match="gives no vector for a frame, but one for each patch"):
        encoder.encode_video(clips)


def test_tfvl_needs_the_towers_of_clip() -> None:
    with pytest.raises(UnsupportedModel, match="the tfvl encoder: its image tower is not CLIP's own"):
        Encoder(small_model("PE"), clip_tokenizer(), identity("mean")).with_encoder("tfvl")


def test_mean_does_not_see_the_order_of_frames_and_temporal_positions_do(clips: Tensor) -> None:
    model = small_model("PE", depth=6)
    mean = Encoder(model, clip_tokenizer(), identity("mean"))
    torch.testing.assert_close(mean.encode_video(clips), mean.encode_video(clips.flip(1)), atol=1e-5, rtol=0)
    positions = {position_name(block): torch.randn(f, 48) for block, f in {2: 12, 3: 6, 4: 3}.items()}
    tempme = Encoder(model, clip_tokenizer(), identity("tempme"), positions)
    assert (tempme.encode_video(clips) - tempme.encode_video(clips.flip(1))).abs().max() > 1e-3


def test_bfloat16_gives_nearly_the_same_vectors(family: str, clips: Tensor) -> None:
    exact = Encoder(small_model(family), clip_tokenizer(), identity("mean"))
    fast = Encoder(copy.deepcopy(exact.model), clip_tokenizer(), identity("mean"), dtype=torch.bfloat16)
    assert F.cosine_similarity(fast.encode_video(clips), exact.encode_video(clips)).min() > 0.999


@torch.inference_mode()
def test_centerclip_keeps_the_places_of_what_it_keeps(frames: Tensor) -> None:
    for name in ("PE", "SigLIP"):
        tower = tower_of(small_model(name))
        x, place = tower.embed(frames)
        tokens = Tokens(x, None, tower.num_cls, 4, place)
        kept = centerclip_reduction(Backbone(tower, 4, {}), segments=2).before_block(1, tokens)
        assert kept.x.shape == (2, tower.num_cls + PATCHES, 48) and kept.num_cls == tower.num_cls
        if place is None:
            continue
        assert kept.place is not None and kept.place.shape == (2, PATCHES)
        for run in range(2):  # each token kept is one of the run's, with its place there
            own = x[2 * run : 2 * run + 2, 1:].flatten(0, 1)
            found = (kept.x[run, 1:, None] == own).all(dim=-1).int().argmax(dim=-1)
            assert torch.equal(kept.place[run], found % PATCHES)


@pytest.mark.parametrize("name", ["PE", "EVA02", "EVA", "SigLIP"])
def test_lora_changes_nothing_at_first_learns_and_folds_to_the_same(name: str, clips: Tensor) -> None:
    model, clips = small_model(name, depth=5), clips[:1]
    plain = copy.deepcopy(model)
    encoder = Encoder(model, clip_tokenizer(), identity("tempme"))
    before = encoder.encode_video(clips)
    model.requires_grad_(False)
    parameters = attach_lora(model, rank=2)
    of_images = {key: parameter for key, parameter in parameters.items() if key.startswith("visual.")}
    assert len(of_images) == 2 * 5 * (3 if name == "EVA02" else 1)
    assert torch.equal(encoder.encode_video(clips), before)
    encoder.video_features(clips).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for k, p in of_images.items() if k.endswith("lora_b"))
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    trained = encoder.encode_video(clips)
    assert (trained - before).abs().max() > 1e-3
    fold_adapter(plain, Adapter({key: parameter.detach() for key, parameter in parameters.items()}))
    folded = Encoder(plain, clip_tokenizer(), identity("tempme")).encode_video(clips)
    torch.testing.assert_close(folded, trained, atol=1e-5, rtol=0)


def test_the_work_that_tome_saves_on_pe_core_s_is_what_was_counted_by_hand() -> None:
    """Gigaflops of 12 frames, counted on a tower of PE-Core-S-16-384's sizes that holds no numbers."""
    with torch.device("meta"):
        sizes = {"img_size": 384, "patch_size": 16, "embed_dim": 384, "num_heads": 6, "mlp_ratio": 4.0}
        trunk = Eva(**{**PE, **sizes, "ref_feat_shape": (24, 24), "attn_pool_num_heads": 8, "num_classes": 512})
        model = SimpleNamespace(visual=SmallTower(trunk.eval()))
        tower, frames = tower_of(model), torch.zeros(12, 384, 384, 3, dtype=torch.uint8)
        gigaflops = {}
        for name in ("mean", "tome"):
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                reduction = ENCODERS[name].reduction(Backbone(tower, 12, {}))
                tower.project(encode_frames(tower, frames, reduction, num_frames=12))
            gigaflops[name] = round(counter.get_total_flops() / 1e9)
    assert gigaflops == {"mean": 376, "tome": 271}
