"""Image towers in 8-bit integers against the same towers in float32."""

from collections.abc import Callable
from random import Random
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F

from tests.support.golden_clip import GOLDEN_FILES, golden_clips, golden_encoder, load_golden
from tests.support.timm_towers import SIZE, TRUNKS, small_model
from vidfind.demo.drawing import draw
from vidfind.demo.world import random_scene
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.precision.integers import largest_weight
from vidfind.text.padded import clip_tokenizer
from vidfind.towers.families import int8_tower
from vidfind.towers.loop import Reduction, encode_frames

pytestmark = pytest.mark.skipif(not largest_weight(), reason="this CPU, or its PyTorch, has no products of integers")


@pytest.fixture(scope="module")
def clips(tiny_encoder: Encoder) -> torch.Tensor:
    """Clips of the small world, which the built-in model was trained on: noise would merge at random."""
    size = tiny_encoder.image_size
    rng = Random(0)
    scenes = [random_scene(rng) for _ in range(4)]
    return torch.stack([torch.as_tensor(draw(scene, tiny_encoder.num_frames, size, size)) for scene in scenes])


def in_int8(encoder: Encoder) -> Encoder:
    """The same encoder in integers from the first clip on."""
    return Encoder(encoder.model, encoder.tokenizer, encoder.identity, encoder.parameters, int8=True)


def cosines(encoder: Encoder, clips: torch.Tensor) -> torch.Tensor:
    return (in_int8(encoder).encode_video(clips) * encoder.encode_video(clips)).sum(dim=1)


@pytest.mark.parametrize("name", ENCODERS)
def test_vectors_of_every_encoder_stay_nearly_the_same(tiny_encoder: Encoder, clips: torch.Tensor, name: str) -> None:
    assert cosines(tiny_encoder.with_encoder(name), clips).median() > 0.998


@pytest.mark.parametrize("name", GOLDEN_FILES[:2])
def test_vectors_of_the_authors_models_stay_nearly_the_same(name: str) -> None:
    golden = load_golden(name)
    assert cosines(golden_encoder(golden), golden_clips(golden)).min() > 0.999


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_both_activations_are_known(activation: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(random_clip(quick_gelu=activation == "quick_gelu"), clip_tokenizer(), identity())
    assert cosines(encoder, random_frames(3)).min() > 0.999


def test_other_activations_and_layer_scale(tiny_encoder: Encoder) -> None:
    torch.manual_seed(0)
    scaled = random_clip(ls_init_value=0.5)
    for block in scaled.visual.transformer.resblocks:
        block.ls_1.gamma.data.uniform_(0.1, 2)
        block.ls_2.gamma.data.uniform_(0.1, 2)
    assert cosines(Encoder(scaled, clip_tokenizer(), identity()), random_frames(3)).min() > 0.999
    for block in scaled.visual.transformer.resblocks:
        block.mlp.gelu = torch.nn.ReLU()
    with pytest.raises(UnsupportedModel, match="cannot be used in int8"):
        Encoder(scaled, clip_tokenizer(), identity(), int8=True)


@pytest.mark.parametrize("family", [name for name in TRUNKS if name != "ViTamin"])
def test_towers_of_timm_stay_nearly_the_same(family: str) -> None:
    model = small_model(family)
    for name in ("mean", "tome"):
        encoder = Encoder(model, clip_tokenizer(), identity(name))
        assert cosines(encoder, random_frames(3, SIZE)).min() > 0.998


@pytest.mark.parametrize("kind", ["gelu_tanh", "quick_gelu"])
def test_activations_of_timm(kind: str) -> None:
    model = small_model("SigLIP", act_layer=kind)
    assert cosines(Encoder(model, clip_tokenizer(), identity("mean")), random_frames(3, SIZE)).min() > 0.999
    for block in model.visual.trunk.blocks:
        block.mlp.act = torch.nn.ReLU()
    for other in (model, small_model("ViTamin")):
        with pytest.raises(UnsupportedModel, match="in int8: its image tower has blocks of another kind"):
            Encoder(other, clip_tokenizer(), identity("mean"), int8=True)


def test_a_tower_that_runs_whole_is_refused_with_the_reason() -> None:
    model = small_model("mean of patches")
    model.visual.trunk.global_pool = "max"
    with pytest.raises(UnsupportedModel, match="cannot be used in int8: its image tower ends in another way"):
        Encoder(model, clip_tokenizer(), identity("mean"), int8=True)


def large_norm_channels(block: Any) -> None:
    """Two channels of each norm become 50 times as large, and what reads them 50 times as small."""
    for norm, weight in ((block.ln_1, block.attn.in_proj_weight), (block.ln_2, block.mlp.c_fc.weight)):
        norm.weight[:2] *= 50
        norm.bias[:2] *= 50
        weight[:, :2] /= 50


def large_values(block: Any) -> None:
    attn, width = block.attn, block.attn.embed_dim
    attn.in_proj_weight[2 * width : 2 * width + 2] *= 50
    attn.in_proj_bias[2 * width : 2 * width + 2] *= 50
    attn.out_proj.weight[:, :2] /= 50


@pytest.mark.parametrize("grow", [large_norm_channels, large_values])
def test_large_channels_as_real_models_have_them_cost_no_precision(
    tiny_encoder: Encoder, clips: torch.Tensor, grow: Callable[[Any], None]
) -> None:
    plain = tiny_encoder.with_encoder("mean")  # merges depend on the last bit
    grown = plain.copy()
    with torch.no_grad():
        for block in grown.model.visual.transformer.resblocks:
            grow(block)
    exact = plain.encode_video(clips)
    torch.testing.assert_close(grown.encode_video(clips), exact, atol=1e-4, rtol=0)
    assert (in_int8(grown).encode_video(clips) * exact).sum(dim=1).min() > 0.999


def test_a_clip_has_the_same_vector_alone_and_among_others(tiny_encoder: Encoder, clips: torch.Tensor) -> None:
    encoder = in_int8(tiny_encoder)
    alone = torch.cat([encoder.encode_video(clips[i : i + 1]) for i in range(len(clips))])
    assert torch.equal(encoder.encode_video(clips), alone)
    assert torch.equal(encoder.encode_video(clips.flip(0)), alone.flip(0))


@pytest.mark.parametrize("name", ENCODERS)
def test_no_encoder_keeps_tokens_that_blocks_change_in_place(
    tiny_encoder: Encoder, clips: torch.Tensor, name: str
) -> None:
    encoder = tiny_encoder.with_encoder(name)
    tower, reduction = int8_tower(encoder.model, largest_weight()), encoder.reduction

    def copied(step: Callable[..., Any]) -> Callable[..., Any]:
        """The step with tokens of its own, which nothing that comes later changes."""
        return lambda i, tokens, *keys: step(i, type(tokens)(tokens.x.clone(), *list(vars(tokens).values())[1:]), *keys)

    careful = Reduction(copied(reduction.before_block), copied(reduction.before_mlp), reduction.pool)
    with torch.inference_mode():
        one, other = (encode_frames(tower, clips[0], r, 12) for r in (reduction, careful))
    assert torch.equal(one, other)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", ["conv1.weight", "ln_pre.bias", "transformer.resblocks.2.mlp.c_proj.weight"])
def test_numbers_that_are_not_finite_are_never_stored(
    tiny_encoder: Encoder, clips: torch.Tensor, place: str, number: float
) -> None:
    broken = tiny_encoder.copy()
    broken.model.visual.get_parameter(place).data.view(-1)[0] = number
    with pytest.raises(ModelUnavailable, match="not finite, on cpu in int8"):
        in_int8(broken).encode_video(clips[:1])


def test_a_careful_tower_is_closer_to_float32(tiny_encoder: Encoder, clips: torch.Tensor) -> None:
    encoder, exact = tiny_encoder.with_encoder("mean"), tiny_encoder.with_encoder("mean").encode_video(clips)
    distances = []
    for is_careful in (False, True):
        tower = int8_tower(encoder.model, largest_weight(), is_careful)
        with torch.inference_mode():
            vectors = torch.cat([F.normalize(encoder.video_features(clip, tower), dim=-1) for clip in clips.split(1)])
        distances.append((vectors - exact).norm())
    assert distances[1] < distances[0]


def identity(encoder: str = "tempme") -> EncoderIdentity:
    return EncoderIdentity("test", "random", "", encoder, None, 12)


def random_clip(quick_gelu: bool = False, **vision: Any) -> open_clip.CLIP:
    shape = {"image_size": 64, "layers": 6, "width": 64, "patch_size": 16, "head_width": 32, **vision}
    clip = open_clip.CLIP(32, shape, {"width": 64, "heads": 2, "layers": 1}, quick_gelu=quick_gelu)
    clip.visual.image_mean, clip.visual.image_std = (0.5,) * 3, (0.25,) * 3
    return clip


def random_frames(count: int, size: int = 64) -> torch.Tensor:
    """Clips of coarse patches that change slowly, (B, 12, S, S, 3)."""
    coarse = torch.rand(count, 1, 4, 4, 3) * 200 + torch.rand(count, 12, 4, 4, 3) * 55
    return coarse.byte().repeat_interleave(size // 4, dim=2).repeat_interleave(size // 4, dim=3)
