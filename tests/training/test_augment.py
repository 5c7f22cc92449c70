"""Varied clips: what is drawn for one frame is drawn for all, and captions stay true."""

from random import Random
from typing import Any

import pytest
import torch

from vidfind.system.imports import import_open_clip
from vidfind.training.clips import OPERATIONS, SIDES, augment


@pytest.fixture
def clip() -> torch.Tensor:
    """Four equal frames (T, S, S, 3), bright on the left."""
    frame = torch.randint(0, 100, (24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frame[:, :12] += 150
    return frame.repeat(4, 1, 1, 1)


def test_all_frames_are_varied_alike_and_clips_differently(clip: torch.Tensor) -> None:
    varied = [augment(clip, "a dog", Random(seed)) for seed in range(20)]
    for one in varied:
        assert (one.shape, one.dtype) == (clip.shape, torch.uint8)
        assert all(torch.equal(frame, one[0]) for frame in one)
    assert len({one.numpy().tobytes() for one in varied}) > 15


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
@pytest.mark.parametrize("strength", [-1.0, 1.0])
def test_every_operation_leaves_most_of_a_picture_as_it_is(clip: torch.Tensor, number: int, strength: float) -> None:
    frames = clip.permute(0, 3, 1, 2)
    varied = OPERATIONS[number](frames, strength).float()
    assert torch.corrcoef(torch.stack([varied.flatten(), frames.float().flatten()]))[0, 1] > 0.6


def test_operations_are_those_of_torchvision(clip: torch.Tensor) -> None:
    import_open_clip()  # torchvision by itself imports PyTorch's compiler, which takes seconds
    from torchvision.transforms import InterpolationMode, functional

    frames = torch.stack([clip[0], clip[0].flip(1), clip[0] // 2, clip[0].transpose(0, 1)]).permute(0, 3, 1, 2)
    for strength in (-1.0, -0.4, 0.0, 0.7, 1.0):
        moves: list[dict[str, Any]] = [
            {"angle": 9 * strength},
            {"translate": [2.4 * strength, 0.0]},
            {"translate": [0.0, 2.4 * strength]},
            {"scale": 1 + 0.15 * strength},
        ]
        wanted = [
            frames,
            *(
                functional.affine(
                    frames,
                    **{"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0], **move},
                    interpolation=InterpolationMode.BILINEAR,
                    fill=[118.0] * 3,
                )
                for move in moves
            ),
            functional.adjust_brightness(frames, 1 + 0.25 * strength),
            functional.adjust_sharpness(frames, 1 + 0.5 * strength),
        ]
        for operation, of_torchvision in zip(OPERATIONS, wanted, strict=True):
            off = (operation(frames, strength).int() - of_torchvision.int()).abs()
            assert off.max() <= 1 and off.float().mean() < 0.01


def is_bright_on_the_left(clip: torch.Tensor) -> bool:
    return bool(clip[:, :, :12].float().mean() > clip[:, :, 12:].float().mean())


def test_a_clip_is_mirrored_now_and_then_but_not_if_its_caption_names_a_side(clip: torch.Tensor) -> None:
    def kept(caption: str) -> int:
        return sum(is_bright_on_the_left(augment(clip, caption, Random(seed))) for seed in range(60))

    assert 15 < kept("a dog runs") < 45
    assert kept("a dog runs to the LEFT") == kept("drifts rightwards") == 60


@pytest.mark.parametrize("caption", ["turn left", "Leftwards it goes", "on the right,", "spins anti-clockwise"])
def test_sides_are_found_in_captions(caption: str) -> None:
    assert SIDES.search(caption)


@pytest.mark.parametrize("caption", ["a bright day", "cleft stone"])
def test_other_words_are_no_sides(caption: str) -> None:
    assert not SIDES.search(caption)
