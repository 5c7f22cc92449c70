"""What class tokens attend to once frames are joined, and which way an encoder takes."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidfind.encoders.backbone import Backbone, keep_before_mlp, mean_of_unit_vectors
from vidfind.encoders.encoder import Encoder
from vidfind.encoders.table import reading_of
from vidfind.encoders.tempme import PAPER_STRENGTH, fast_strength, position_name, tempme_reduction
from vidfind.models.load import load_encoder
from vidfind.towers.loop import Reduction
from vidfind.towers.tokens import Tokens, join, key_bias, merge


@pytest.fixture(scope="module")
def plain() -> Encoder:
    """The built-in model without its temporal positions, through `mean`."""
    encoder = load_encoder("tiny", encoder="mean", device="cpu", dtype="float32")
    encoder.parameters.clear()
    return encoder


def random_clips(count: int, size: int, frames: int = 12) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, frames, size, size, 3), generator=rng, dtype=torch.uint8)


def with_reduction(plain: Encoder, reduction: Reduction) -> Encoder:
    other = plain.with_encoder("mean")
    other.reduction = reduction
    return other


def joining_before(block: int, j: int, apart: bool) -> Reduction:
    """Joins `j` frames before a block, and merges nothing."""

    def before_block(i: int, tokens: Tokens) -> Tokens:
        return join(tokens, j, apart) if i == block else tokens

    return Reduction(before_block, keep_before_mlp, mean_of_unit_vectors)


def test_frames_that_are_joined_before_the_last_block_and_read_one_by_one_are_as_alone(plain: Encoder) -> None:
    """What patches see of other frames has no way into a class token then."""
    clips = random_clips(2, plain.image_size)
    alone, last = plain.encode_video(clips), len(plain.model.visual.transformer.resblocks) - 1
    apart, together = (
        with_reduction(plain, joining_before(last, 12, one)).encode_video(clips) for one in (True, False)
    )
    torch.testing.assert_close(apart, alone, atol=1e-6, rtol=0)
    assert (together - alone).abs().max() > 1e-3


def test_equal_frames_read_one_by_one_are_as_one_of_them(plain: Encoder) -> None:
    one = random_clips(2, plain.image_size, frames=1)
    clips = one.expand(-1, 12, -1, -1, -1)
    first = with_reduction(plain, joining_before(2, 12, True)).encode_video(clips)
    torch.testing.assert_close(first, plain.encode_video(clips), atol=2e-6, rtol=0)


@given(
    j=st.sampled_from([2, 3]),
    patches=st.integers(4, 12),
    merged=st.lists(st.integers(0, 4), min_size=2, max_size=2),
    num_cls=st.integers(0, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_the_shares_of_each_frame_add_up_to_its_tokens(
    j: int, patches: int, merged: list[int], num_cls: int, seed: int
) -> None:
    frames = 2 * j
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * frames, num_cls + patches, 8, generator=rng, dtype=torch.float64)
    tokens = Tokens(x, None, num_cls, frames)
    for k, joined in zip(merged, (2, j), strict=True):
        tokens = merge(tokens, tokens.x, min(k, (tokens.x.shape[1] - tokens.num_cls) // 2))
        tokens = join(tokens, joined, apart=True)
    tokens = merge(tokens, tokens.x, (tokens.x.shape[1] - tokens.num_cls) // 2)
    assert tokens.share is not None and tokens.size is not None
    assert tokens.share.sum(dim=1).eq(num_cls + patches).all()
    assert tokens.share[:, : tokens.num_cls].equal(
        torch.eye(frames).double().repeat_interleave(num_cls, 0).expand(2, -1, -1)
    )
    # The mean of a frame's tokens is kept by merging, whoever they are merged with.
    total = (tokens.x * tokens.size).sum(1)
    torch.testing.assert_close(total, x.reshape(2, -1, 8).sum(1))


def test_a_class_token_sees_itself_and_the_part_of_each_token_that_is_of_its_frame() -> None:
    """Against attention that is written down frame by frame."""
    rng = torch.Generator().manual_seed(3)
    x, logits = torch.randn(1, 7, 4, generator=rng), torch.randn(7, 7, generator=rng)
    share = torch.tensor(
        [[1, 0], [0, 1], [3, 0], [0, 2], [1, 4], [2, 2], [0, 1]]
    ).float()  # two class tokens, five patches
    bias = key_bias(Tokens(x, share[None], 2, 1))
    assert bias is not None and bias.shape == (1, 1, 7, 7)
    weights = torch.softmax(logits + bias[0, 0], dim=-1)
    for query in range(7):
        counts = share[:, query] if query < 2 else share.sum(dim=1)
        expected = logits[query].exp() * counts
        torch.testing.assert_close(weights[query], expected / expected.sum())


@pytest.mark.parametrize("encoder", ["tempme", "tempme-fast"])
def test_without_training_frames_are_read_one_by_one_and_nearly_as_alone(plain: Encoder, encoder: str) -> None:
    clips = random_clips(3, plain.image_size)
    alone, apart = plain.encode_video(clips), plain.with_encoder(encoder)
    together = plain.with_encoder(encoder, "clip")
    assert (apart.identity.reading, together.identity.reading) == ("frame", "clip")
    near, far = ((alone * one.encode_video(clips)).sum(dim=1) for one in (apart, together))
    assert (near > far).all()
    assert plain.with_encoder("tome").identity.reading == "clip"
    assert apart.with_encoder("mean").identity.reading == "clip"


def test_a_reading_leaves_the_number_of_tokens_as_it_is(plain: Encoder) -> None:
    width = plain.model.visual.transformer.width
    for strength in (PAPER_STRENGTH, fast_strength(49)):
        left = []
        for reading in ("clip", "frame"):
            reduction = tempme_reduction(Backbone(plain.tower, 12, {}, reading=reading), strength)
            tokens = Tokens(torch.randn(12, 50, width), None, 1, 12)
            for i in range(6):
                tokens = reduction.before_block(i, tokens)
                tokens = reduction.before_mlp(i, tokens, tokens.x)
            left.append(tokens.x.shape)
        assert left[0] == left[1]


TRAINED: Mapping[str, Tensor] = {position_name(2): torch.ones(12, 4)}
UNTRAINED: Mapping[str, Tensor] = {position_name(2): torch.zeros(12, 4)}


@pytest.mark.parametrize(
    ("encoder", "parameters", "reading"),
    [
        ("tempme", {}, "frame"),
        ("tempme", UNTRAINED, "frame"),
        ("tempme-fast", UNTRAINED, "frame"),
        ("tempme", TRAINED, "clip"),
        ("mean", {}, "clip"),
        ("tome", TRAINED, "clip"),
        ("centerclip", {}, "clip"),
        ("tfvl", {}, "clip"),
    ],
)
def test_the_reading_of_an_encoder_without_an_adapter(
    encoder: str, parameters: Mapping[str, Tensor], reading: str
) -> None:
    assert reading_of(encoder, parameters) == reading


def test_the_built_in_model_is_read_as_it_was_trained() -> None:
    encoder = load_encoder("tiny", encoder="tempme", device="cpu", dtype="float32")
    assert encoder.identity.reading == "clip"
    apart = load_encoder("tiny", encoder="tempme", device="cpu", dtype="float32", reading="frame")
    assert apart.identity == replace(encoder.identity, reading="frame")


def test_int8_reads_frames_one_by_one_too(plain: Encoder) -> None:
    clips = random_clips(2, plain.image_size)
    apart = plain.with_encoder("tempme")
    quantised = Encoder(plain.model, plain.tokenizer, apart.identity, {}, int8=True)
    assert ((quantised.encode_video(clips) * apart.encode_video(clips)).sum(dim=1) > 0.99).all()
    together = plain.with_encoder("tempme", "clip").encode_video(clips)
    assert ((quantised.encode_video(clips) * together).sum(dim=1) < 0.99).all()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_weights_through_frames_that_are_read_one_by_one(
    plain: Encoder, checkpointing: bool
) -> None:
    apart = plain.copy().with_encoder("tempme")
    apart.checkpointing = checkpointing
    weights = [block.attn.in_proj_weight for block in apart.model.visual.transformer.resblocks]
    features = apart.video_features(random_clips(1, plain.image_size))
    for gradient in torch.autograd.grad(features.square().sum(), weights):
        assert gradient.isfinite().all() and gradient.any()
