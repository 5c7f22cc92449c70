"""HDR pictures as usual ones."""

import numpy as np
import pytest

from vidfind.media.frames import HDR_TO_LIGHT, to_sdr

PQ, HLG = 16, 18


@pytest.mark.parametrize("curve", HDR_TO_LIGHT)
def test_brighter_stays_brighter_from_black_to_white(curve: int) -> None:
    steps = np.linspace(0, 65535, 100).astype(np.uint16)[:, None].repeat(3, 1)[None]  # (1, 100, 3)
    shown = to_sdr(steps, curve)[0].astype(int)
    assert shown[0].max() == 0
    assert shown[-1].min() > 240
    assert (np.diff(shown, axis=0) >= 0).all()
    assert np.ptp(shown, axis=1).max() <= 1  # grey stays grey


@pytest.mark.parametrize(("curve", "coded"), [(PQ, 0.5806), (HLG, 0.75)], ids=["PQ", "HLG"])
def test_white_paper_is_nearly_white(curve: int, coded: float) -> None:
    """ITU-R BT.2408 codes the 203 nits of white paper by these values."""
    assert 215 < to_sdr(np.full((1, 1, 3), coded * 65535, np.uint16), curve).mean() < 245


@pytest.mark.parametrize(
    ("coded", "nits"), [(0.0, 0.0), (0.1501, 1.0), (0.5081, 100.0), (0.7518, 1000.0), (1.0, 10000.0)]
)
def test_pq_gives_the_nits_of_the_standard(coded: float, nits: float) -> None:
    light = HDR_TO_LIGHT[PQ](np.full((1, 3), coded, np.float32)) * 203
    assert light == pytest.approx(nits, rel=0.01, abs=1e-3)
