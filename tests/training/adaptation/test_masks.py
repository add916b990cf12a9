"""Masks of an adaptation: found by name and folder, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError
from homolog.image.masks import EmptyMaskError, read_mask
from homolog.training.adaptation.masks import find_masks


def put_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random_image(40, 30).save(path)
    return path


def put_mask(path: Path, size: tuple[int, int] = (40, 30), value: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.zeros((size[1], size[0]), np.uint8)
    drawn[5:15, 10:30] = value
    Image.fromarray(drawn).save(path)
    return path


def test_masks_by_name(tmp_path):
    files = [put_image(tmp_path / "set" / name) for name in ("a.jpg", "b.png", "deep/c.png")]
    files += [put_image(tmp_path / "set" / name) for name in ("d.png", "e.png")]
    masks = [put_mask(tmp_path / "masks" / name) for name in ("a.png", "b.tif", "more/c.bmp")]
    empty = put_mask(tmp_path / "masks" / "d.png", value=0)
    put_mask(tmp_path / "masks" / "z.png")
    (tmp_path / "masks" / "labels.csv").write_text("a,b")
    found = find_masks(files, tmp_path / "masks")
    assert found.paths == dict(zip(files, masks, strict=False))
    assert [(each.path, each.reason) for each in found.left_out] == [
        (files[3], "its mask is empty")
    ]
    assert found.notes == (
        f"images without a mask, in which saliency finds the object: 1 ({files[4]})",
        f"masks without an image, not used: 1 ({tmp_path / 'masks' / 'z.png'})",
    )
    with pytest.raises(EmptyMaskError):
        read_mask(empty, (40, 30))


def test_folders_tell_images_of_one_name_apart(tmp_path):
    files = [put_image(tmp_path / "set" / kind / "001.jpg") for kind in ("cat", "dog")]
    masks = [put_mask(tmp_path / "masks" / kind / "001.png") for kind in ("cat", "dog")]
    assert find_masks(files, tmp_path / "masks").paths == dict(zip(files, masks, strict=True))
    masks[1].unlink()
    assert find_masks(files, tmp_path / "masks").paths == {files[0]: masks[0]}


def test_masks_beside_their_images(tmp_path):
    """A folder may hold both, where a list says which are the images."""
    files = [put_image(tmp_path / f"{name}.jpg") for name in "ab"]
    masks = [put_mask(tmp_path / f"{name}.png") for name in "ab"]
    assert find_masks(files, tmp_path).paths == dict(zip(files, masks, strict=True))


def test_what_does_not_fit_is_refused(tmp_path):
    image = put_image(tmp_path / "set" / "a.png")
    folder = tmp_path / "masks"
    with pytest.raises(HomologError, match=r"^masks: expected a folder, got"):
        find_masks([image], folder)
    folder.mkdir()
    with pytest.raises(HomologError, match=r"such as a.png, in .*, got no images$"):
        find_masks([image], folder)
    other = put_mask(folder / "other.png")
    with pytest.raises(HomologError, match=r"such as a.png, in .*, got other.png$"):
        find_masks([image], folder)
    other.unlink()
    mask = put_mask(folder / "a.png", (30, 40))
    with pytest.raises(HomologError) as caught:
        find_masks([image], folder)
    assert str(caught.value) == (
        f"mask {mask}: expected the size of its image, 40 x 30 pixels, got 30 x 40"
    )
    put_mask(mask)
    again = put_mask(folder / "a.tif")
    with pytest.raises(
        HomologError, match=f"expected one mask for {image}, got {mask} and {again}"
    ):
        find_masks([image], folder)
    again.unlink()
    twin = put_image(tmp_path / "set" / "a.jpg")
    with pytest.raises(HomologError, match=f"expected one image for {mask}, got {image} and"):
        find_masks([image, twin], folder)
    mask.write_bytes(b"no image")
    with pytest.raises(HomologError, match=f"^mask {mask}: expected an image in a known format"):
        find_masks([image], folder)
