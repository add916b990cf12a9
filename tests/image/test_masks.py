"""Masks from files and arrays."""

import numpy as np
import pytest
import torch
from PIL import Image

from homolog import HomologError
from homolog.image import masks


def test_masks(tmp_path):
    drawn = np.zeros((60, 90), np.uint8)
    drawn[10:20, 30:50] = 7
    labels = Image.frombytes("P", (90, 60), drawn.tobytes())
    labels.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    images = {
        "grey.png": Image.fromarray(drawn),
        "bit.png": Image.fromarray(drawn > 0),
        "deep.png": Image.fromarray(drawn.astype(np.uint16)),
        "labels.png": labels,
        "colour.png": Image.fromarray(np.dstack([drawn * 30] * 3)),
    }
    for name, image in images.items():
        image.save(tmp_path / name)
    files = [tmp_path / name for name in images]
    arrays = [drawn, drawn > 0, torch.from_numpy(drawn), drawn.astype(float)]
    for given in (*files, *arrays):
        np.testing.assert_array_equal(masks.read_mask(given, (90, 60)), drawn > 0)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.ones((90, 60)), "expected the size of its image, 90 x 60 pixels, got 60 x 90"),
        (np.zeros((60, 90)), "expected at least one pixel that is not zero"),
        (np.ones((60, 90, 3)), "height x width"),
    ],
)
def test_masks_that_do_not_fit(mask, reason):
    with pytest.raises(HomologError, match=reason):
        masks.read_mask(mask, (90, 60))
