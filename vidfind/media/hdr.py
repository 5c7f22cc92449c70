"""Tone-maps HDR pictures to standard ones: highlights brighter than white paper are compressed.

Works on arrays; knows nothing of files.
"""

from collections.abc import Callable

import numpy as np

WHITE_NITS = 203.0  # brightness of white paper in HDR: ITU-R BT.2408
KNEE = 0.6  # brightness up to this fraction of white is kept; highlights share the rest
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
LUMA_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def pq_to_light(coded: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: converts (..., 3) coded values in 0..1 to light, where white paper is 1."""
    root = coded ** np.float32(1 / 78.84375)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return np.asarray(light ** np.float32(1 / 0.1593017578125) * (10000 / WHITE_NITS))


def hlg_to_light(coded: np.ndarray) -> np.ndarray:
    """ARIB STD-B67 on a screen of 1000 nits: converts (..., 3) coded values in 0..1 to light."""
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luma = (scene @ LUMA_BT2020)[..., None]
    return np.asarray(scene * luma**0.2 * (1000 / WHITE_NITS))


# Keys: the numbers of transfer curves in ITU-T H.273, as video files carry them.
HDR_TO_LIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {16: pq_to_light, 18: hlg_to_light}


def to_sdr(coded: np.ndarray, curve: int) -> np.ndarray:
    """Converts a picture (..., 3) of 16-bit BT.2020 values, coded by a curve of HDR_TO_LIGHT, to 8-bit BT.709.

    Takes a few ms for the small pictures that a model sees; for full frames it would take most of the decoding time.
    """
    light = HDR_TO_LIGHT[curve](coded.astype(np.float32) / 65535) @ BT2020_TO_BT709.T
    light = np.maximum(light, 0)
    over = np.maximum(light - KNEE, 0)
    light = np.minimum(light, KNEE) + (1 - KNEE) * over / (over + (1 - KNEE))
    return np.asarray((light ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8))
