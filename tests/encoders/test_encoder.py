"""The transformer loop against the authors' numbers and against open_clip's own forward passes."""

import copy

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from tests.support.golden_clip import (
    GOLDEN_FILES,
    golden_adapter,
    golden_clips,
    golden_encoder,
    golden_model,
    golden_part,
    load_golden,
)
from tests.support.gradients import gradient
from tests.support.rounding import rounding
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.encoders.table import ENCODERS
from vidfind.encoders.tempme import position_name
from vidfind.errors import ModelUnavailable, UnsupportedModel
from vidfind.models.adapter_file import from_tempme
from vidfind.models.lora import fold_adapter
from vidfind.text.padded import clip_tokenizer


def identity(encoder: str, num_frames: int = 12, model: str = "test") -> EncoderIdentity:
    return EncoderIdentity(model, "random", "", encoder, None, num_frames)


def contrastive_loss(video: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    similarity = scale.exp() * F.normalize(text, dim=-1) @ F.normalize(video, dim=-1).T
    target = torch.arange(len(video))
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_tempme_features_loss_and_gradients_equal_the_authors(name: str) -> None:
    golden = load_golden(name)
    encoder = golden_encoder(golden)
    video = encoder.video_features(golden_clips(golden))
    text = encoder.text_features(torch.tensor(golden["text_ids"]))
    np.testing.assert_allclose(video.detach(), golden["video_features"], atol=1e-5)
    np.testing.assert_allclose(text.detach(), golden["text_features"], atol=1e-5)

    scale = encoder.model.logit_scale
    loss = contrastive_loss(video, text, scale)
    assert loss.item() == pytest.approx(float(golden["loss"]), abs=rounding(scale.exp().item()))
    loss.backward()

    gradients = from_tempme(gradients_by_authors_name(encoder)).tensors
    norms = {k: v for k, v in golden.items() if k.startswith("grad_norm/")}
    assert len(norms) > 20
    for key, norm in norms.items():
        ours = gradients[our_name(key.removeprefix("grad_norm/"))].norm().item()
        assert ours == pytest.approx(float(norm), rel=1e-3), key
    for key, expected in from_tempme(golden_part(golden, "grad")).tensors.items():
        assert (gradients[key] - expected).norm() <= 1e-3 * expected.norm(), key


def our_name(authors_name: str) -> str:
    return next(iter(from_tempme({authors_name: torch.zeros(1, 1, 1, 1)}).tensors))


def gradients_by_authors_name(encoder: Encoder) -> dict[str, torch.Tensor]:
    gradients: dict[str, torch.Tensor] = {}
    for name, parameter in encoder.model.named_parameters():
        if ".parametrizations.in_proj_weight.0." in name:
            name = name.replace("parametrizations.in_proj_weight.0.", "TVPt_LoRA_")
            gradients[f"clip.{name}"] = gradient(parameter)
    for name, position in encoder.parameters.items():
        name = name.replace("temporal_position", "TVPt_Video_Positional_embedding")
        gradients[f"clip.{name}"] = gradient(position)[None, :, None]
    return gradients


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_folded_lora_gives_the_same_features(name: str) -> None:
    golden = load_golden(name)
    model, adapter = golden_model(golden), golden_adapter(golden)
    fold_adapter(model, adapter)
    frames = golden["frames"].shape[1]
    encoder = Encoder(model, clip_tokenizer(), identity("tempme", frames), adapter.parameters())
    video = encoder.encode_video(golden_clips(golden))
    np.testing.assert_allclose(video, F.normalize(torch.tensor(golden["video_features"]), dim=-1), atol=1e-5)


@pytest.fixture(scope="module")
def small_clip() -> open_clip.CLIP:
    """A plain open_clip model of random weights, with LayerScale, which `attend` must not forget."""
    torch.manual_seed(0)
    vision = {"image_size": 64, "patch_size": 16, "width": 64, "layers": 6, "head_width": 32, "ls_init_value": 0.5}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}
    model = open_clip.CLIP(32, vision, text).eval()
    model.visual.image_mean, model.visual.image_std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    return model


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.randint(0, 256, (3, 12, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def make_encoder(model: open_clip.CLIP, encoder: str) -> Encoder:
    return Encoder(model, clip_tokenizer(), identity(encoder))


@torch.inference_mode()
def test_mean_equals_open_clips_own_encode_image(small_clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    mean, std = (torch.tensor(x) for x in (small_clip.visual.image_mean, small_clip.visual.image_std))
    pixels = ((clips / 255 - mean) / std).flatten(0, 1).permute(0, 3, 1, 2)
    frames = small_clip.encode_image(pixels, normalize=True).view(3, 12, -1)
    expected = F.normalize(frames.mean(dim=1), dim=-1)
    torch.testing.assert_close(make_encoder(small_clip, "mean").encode_video(clips), expected, atol=rounding(), rtol=0)


@torch.inference_mode()
def test_text_equals_open_clips_own_encode_text(small_clip: open_clip.CLIP) -> None:
    texts = ["a dog", "", "two cats on a very long sofa in the evening sun", "naïve 犬 🐕", "word " * 200]
    expected = small_clip.encode_text(clip_tokenizer()(texts), normalize=True)
    torch.testing.assert_close(make_encoder(small_clip, "mean").encode_text(texts), expected, atol=rounding(), rtol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(
    small_clip: open_clip.CLIP, clips: torch.Tensor, name: str
) -> None:
    encoder = make_encoder(small_clip, "mean").with_encoder(name)
    vectors = encoder.encode_video(clips)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    reordered = encoder.encode_video(clips[[2, 0]].numpy())
    torch.testing.assert_close(reordered, vectors[[2, 0]], atol=rounding(), rtol=0)


def test_mean_does_not_see_the_order_of_frames_and_tempme_with_positions_does(
    small_clip: open_clip.CLIP, clips: torch.Tensor
) -> None:
    mean = make_encoder(small_clip, "mean")
    torch.testing.assert_close(mean.encode_video(clips), mean.encode_video(clips.flip(1)), atol=rounding(), rtol=0)
    rng = torch.Generator().manual_seed(2)
    positions = {position_name(block): torch.randn(f, 64, generator=rng) for block, f in {2: 12, 3: 6, 4: 3}.items()}
    tempme = Encoder(small_clip, clip_tokenizer(), identity("tempme"), positions)
    assert (tempme.encode_video(clips) - tempme.encode_video(clips.flip(1))).abs().max() > 1e-3


def test_bfloat16_gives_nearly_the_same_vectors(small_clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    exact = make_encoder(small_clip, "tempme").encode_video(clips)
    fast = Encoder(copy.deepcopy(small_clip), clip_tokenizer(), identity("tempme"), dtype=torch.bfloat16)
    assert F.cosine_similarity(fast.encode_video(clips), exact).min() > 0.995


OTHER_TOWERS = {
    "is a ModifiedResNet": {"layers": [1, 1, 1, 1], "width": 32, "image_size": 64},
    "is a ResNet": {"timm_model_name": "resnet18", "image_size": 64},
    "does not end in a class token": {"layers": 2, "width": 64, "image_size": 64, "pool_type": "avg"},
    "has transformer blocks of another kind": {
        "layers": 2,
        "width": 64,
        "image_size": 64,
        "block_type": "custom",
    },
}


@pytest.mark.parametrize("reason", OTHER_TOWERS)
def test_other_image_towers_run_whole_and_merge_nothing(reason: str) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(32, OTHER_TOWERS[reason], {"width": 64, "heads": 2, "layers": 1}).eval()
    mean, std = (0.2, 0.5, 0.7), (0.3, 0.2, 0.1)
    open_clip.model.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    encoder = Encoder(model, clip_tokenizer(), identity("mean", 3, model="Odd-Model"))
    clips = torch.randint(0, 256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    vectors = encoder.encode_video(clips)
    pixels = (clips.flatten(0, 1) / 255 - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        frames = model.encode_image(pixels.permute(0, 3, 1, 2), normalize=True)
    expected = F.normalize(frames.unflatten(0, (2, 3)).mean(dim=1), dim=-1)
    torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=0)
    assert vectors.shape == (2, encoder.dim)
    with pytest.raises(UnsupportedModel, match=f"^tome merges tokens, .* of Odd-Model {reason}: .* --encoder mean"):
        encoder.with_encoder("tome")
    with pytest.raises(UnsupportedModel, match="Odd-Model cannot be used in int8"):
        Encoder(model, clip_tokenizer(), encoder.identity, int8=True)


def test_too_few_blocks_for_tempme_are_refused_by_name() -> None:
    vision = {"layers": 3, "width": 64, "image_size": 64, "patch_size": 16}
    model = open_clip.CLIP(32, vision, {"width": 64, "heads": 2, "layers": 1})
    with pytest.raises(UnsupportedModel, match=r"Shallow.*tempme.*5 transformer blocks"):
        Encoder(model, clip_tokenizer(), identity("tempme", model="Shallow"))


@pytest.mark.parametrize("name", ["tempme", "centerclip", "centerclip-spectral"])
def test_numbers_that_are_not_finite_are_told_and_never_stored(tiny_encoder: Encoder, name: str) -> None:
    broken = tiny_encoder.with_encoder(name).copy()
    broken.model.visual.ln_pre.bias.data[0] = torch.inf
    clips = np.zeros((1, broken.num_frames, broken.image_size, broken.image_size, 3), np.uint8)
    with pytest.raises(ModelUnavailable, match=r"not finite, on cpu in \w+\. Try --dtype float32"):
        broken.encode_video(clips)
