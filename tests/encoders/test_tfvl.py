"""TFVL-style encoding: no published numbers to match, so the properties that our reading of the paper promises."""

import dataclasses

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.rounding import rounding
from vidfind.encoders.backbone import Backbone
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.names import EncoderIdentity
from vidfind.encoders.tfvl import DEFAULTS, PROJECTION, Settings, tfvl_parameters, tfvl_reduction, word_scale
from vidfind.text.padded import clip_tokenizer
from vidfind.towers.clip import ClipTower
from vidfind.towers.text import read_words
from vidfind.training.optimize import contrastive_loss

FRAMES = 6
APART = Settings(prompts=0, joint_share=0.0)
"""Each frame by itself, so that only the sentence knows their order."""


@pytest.fixture(scope="module")
def clip() -> open_clip.CLIP:
    """A plain open_clip model of random weights."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 3, "head_width": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    model = open_clip.CLIP(48, vision, text).eval()
    model.visual.image_mean, model.visual.image_std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    return model


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    return torch.randint(0, 256, (4, FRAMES, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def make_encoder(clip: open_clip.CLIP, settings: Settings = DEFAULTS, frames: int = FRAMES) -> Encoder:
    identity = EncoderIdentity("test", "random", "", "mean", None, frames)
    encoder = Encoder(clip, clip_tokenizer(), identity).with_encoder("tfvl")
    backbone = Backbone(ClipTower(clip), frames, encoder.parameters, clip)
    torch.manual_seed(3)
    encoder.parameters.clear()
    encoder.parameters.update(tfvl_parameters(backbone, settings))
    encoder.reduction = tfvl_reduction(backbone, settings)
    return encoder


def sentences(encoder: Encoder, clips: torch.Tensor) -> torch.Tensor:
    """What the text tower says of the frames: the vector without the mean of the frames."""
    mean = F.normalize(encoder.frame_features(clips), dim=-1).mean(dim=1)
    return encoder.video_features(clips) - mean


@torch.inference_mode()
def test_without_prompts_joint_blocks_and_sentence_it_is_plain_mean_pooling(
    clip: open_clip.CLIP, clips: torch.Tensor
) -> None:
    nothing = make_encoder(clip, dataclasses.replace(APART, sentence_weight=0.0))
    mean = nothing.with_encoder("mean")
    torch.testing.assert_close(nothing.encode_video(clips), mean.encode_video(clips), atol=rounding(), rtol=0)


@torch.inference_mode()
def test_the_order_of_frames_changes_the_sentence_and_not_the_mean(clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    encoder = make_encoder(clip, APART)
    backwards = clips.flip(1)
    torch.testing.assert_close(encoder.frame_features(clips), encoder.frame_features(backwards).flip(1))
    assert (sentences(encoder, clips) - sentences(encoder, backwards)).abs().max() > 1e-3


@torch.inference_mode()
def test_a_sentence_is_read_after_its_last_word_as_open_clip_reads_one(clip: open_clip.CLIP) -> None:
    tokenizer = clip_tokenizer()
    ids = tokenizer(["two dogs play"])
    words = clip.token_embedding(ids)[:, 1 : int(ids.argmax())]
    torch.testing.assert_close(read_words(clip, words), clip.encode_text(ids), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_more_frames_than_a_sentence_has_places_are_read_as_means_of_neighbours(clip: open_clip.CLIP) -> None:
    words = torch.randn(2, 75, 32)
    torch.testing.assert_close(read_words(clip, words.repeat_interleave(2, dim=1)), read_words(clip, words))
    assert read_words(clip, torch.randn(1, 101, 32)).isfinite().all()


@torch.inference_mode()
def test_one_frame_is_a_sentence_of_one_word(clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    joint = make_encoder(clip, Settings(prompts=4, joint_share=1.0), frames=1)
    apart = make_encoder(clip, Settings(prompts=4, joint_share=0.0), frames=1)
    torch.testing.assert_close(joint.encode_video(clips[:, :1]), apart.encode_video(clips[:, :1]))


@torch.inference_mode()
def test_frames_attend_to_one_another_in_the_joint_blocks_alone(clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    other = clips.clone()
    other[:, -1] = 0
    for settings, others_see_it in ((Settings(joint_share=0.0), False), (Settings(), True)):
        encoder = make_encoder(clip, settings)
        change = (encoder.frame_features(clips) - encoder.frame_features(other))[:, 0].abs().max()
        assert (change > 1e-5) == others_see_it


@torch.inference_mode()
def test_frames_become_words_as_large_as_those_of_the_token_table(clip: open_clip.CLIP) -> None:
    backbone = Backbone(ClipTower(clip), FRAMES, {}, clip)
    projection = tfvl_parameters(backbone)[PROJECTION]
    words = word_scale(backbone) * (clip.visual.ln_post(torch.randn(1000, 64)) @ projection)
    of_table = clip.token_embedding.weight.square().mean().sqrt()
    assert words.square().mean().sqrt().item() == pytest.approx(of_table.item(), rel=0.2)


def test_a_step_changes_all_that_is_trained_and_nothing_of_the_model(clip: open_clip.CLIP, clips: torch.Tensor) -> None:
    encoder = make_encoder(clip)
    parameters = train_only_what_is_added(encoder)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    text = encoder.text_features(encoder.tokenizer(["a", "dog", "and", "cat"]))
    contrastive_loss(encoder.video_features(clips), text, torch.tensor(10.0)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parameters.values())
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())


def test_it_learns_16_clips_by_heart(clip: open_clip.CLIP) -> None:
    """Of frames in plain colours, in which the order alone tells some clips apart."""
    rng = torch.Generator().manual_seed(5)
    colours = torch.randint(0, 256, (8, 4, 1, 1, 3), dtype=torch.uint8, generator=rng)
    clips = torch.cat([colours, colours.flip(1)]).expand(-1, -1, 32, 32, -1)
    text = torch.randn(16, 48, generator=rng)
    encoder = make_encoder(clip, frames=4)
    parameters = train_only_what_is_added(encoder)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    for step in range(500):
        if step % 10 == 0 and found_by(encoder, clips, text) == list(range(16)):
            return
        optimizer.zero_grad()
        contrastive_loss(encoder.video_features(clips), text, torch.tensor(20.0)).backward()
        optimizer.step()
    pytest.fail(f"still mixed up: {found_by(encoder, clips, text)}")


def found_by(encoder: Encoder, clips: torch.Tensor, text: torch.Tensor) -> list[int]:
    return (F.normalize(text, dim=-1) @ encoder.encode_video(clips).T).argmax(dim=1).tolist()


def train_only_what_is_added(encoder: Encoder) -> dict[str, nn.Parameter]:
    encoder.model.requires_grad_(False)
    parameters = {name: nn.Parameter(tensor) for name, tensor in encoder.parameters.items()}
    encoder.parameters.update(parameters)
    return parameters
