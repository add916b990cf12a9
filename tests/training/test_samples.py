"""Training samples: of whole images, and of the regions around objects that share an image."""

import dataclasses
import json

import numpy as np
import pytest
from helpers import crowds, datasets
from helpers.toy_training import CONTEXT, log_lines, toy_data, toy_matcher

from homolog import HomologError
from homolog.data import coco
from homolog.extractor import DescriptorExtractor
from homolog.features import FeatureCache
from homolog.image import reading
from homolog.image.geometry import CanvasTransform
from homolog.image.poses import IDENTITY
from homolog.image.regions import MARGIN
from homolog.training import ViewsConfig, train
from homolog.training.augmentation import FLIPPED, UNCHANGED, RandomAffineView
from homolog.training.samples import SampleLoader

RANDOM = RandomAffineView.draw(ViewsConfig(), np.random.default_rng(3))
AUGMENTATIONS = [UNCHANGED, FLIPPED, RANDOM]


def loader(data, cache=None, **options) -> SampleLoader:
    matcher = toy_matcher()
    extractor = DescriptorExtractor(matcher.backbone, matcher.config, cache=cache)
    return SampleLoader(extractor, data.schemas, matcher.max_pixels, **options)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("canvases", [False, True])
def test_an_object_among_others_is_a_crop_by_hand(tmp_path, augmentation, canvases):
    path = crowds.make_crowds(tmp_path / "crowds", [2, 4])
    data = coco.load(path)
    cropped = coco.load(crowds.crop_to_objects(path, tmp_path / "crops", MARGIN))
    by_hand = {a.name: a for a in cropped.annotations}
    ours, theirs = loader(data, canvases=canvases), loader(cropped, canvases=canvases)
    assert len(data.annotations) == 6
    for annotation in data.annotations:
        found = ours(annotation, augmentation)
        expected = theirs(by_hand[annotation.name], augmentation)
        assert found.features_HWC.equal(expected.features_HWC)
        assert found.cells_K2.isfinite().any()
        np.testing.assert_allclose(found.cells_K2, expected.cells_K2, atol=1e-5)
        assert found.reference_length == expected.reference_length


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_object_alone_in_its_image_is_the_whole_image(tmp_path, augmentation):
    """As it was before boxes: written out here, to the last bit."""
    data = toy_data(tmp_path, 2)
    annotation, load = data.annotations[1], loader(data)
    backbone, image = load.extractor.backbone, reading.load_image(annotation.path, longest_edge=96)
    transform = CanvasTransform(image.width, image.height, IDENTITY, 96, backbone.grid)
    cells = augmentation.to_cells(annotation.keypoints, transform)
    if augmentation.mirrored:
        cells = cells[[0, 2, 1, 3, 4]]
    found = load(annotation, augmentation)
    np.testing.assert_array_equal(found.cells_K2, cells.astype(np.float32))
    canvas = np.array(augmentation.canvas(image.image, transform))
    (raw,) = loader(data, canvases=True)(annotation, augmentation).features_HWC[None]
    np.testing.assert_array_equal(raw.numpy(), canvas)


def test_each_region_is_read_once_and_has_features_of_its_own(tmp_path, monkeypatch):
    data = coco.load(crowds.make_crowds(tmp_path / "crowds", [3, 3]))
    cache = FeatureCache(tmp_path / "cache")
    load, read = loader(data, cache), []
    original = reading.load_image

    def load_image(image, **options):
        read.append(image)
        return original(image, **options)

    monkeypatch.setattr(reading, "load_image", load_image)
    for augmentation in AUGMENTATIONS:
        for annotation in data.annotations:
            load(annotation, augmentation)
    assert len(read) == 6 and len(list(cache.files())) == 6 * len(AUGMENTATIONS)


def test_keypoints_beyond_a_region_are_not_visible(tmp_path):
    path = crowds.make_crowds(tmp_path / "crowds", [2, 2])

    def change(file):
        x, y, _, height = file["annotations"][0]["bbox"]
        file["annotations"][0]["keypoints"][:2] = [x, y + 2 * height if y < 100 else y - height]

    data = coco.load(datasets.edit_json(path, change))
    load = loader(data)
    for annotation in data.annotations:
        for augmentation in (UNCHANGED, FLIPPED):
            visible = load(annotation, augmentation).cells_K2[:, 0].isfinite()
            assert visible.tolist() == [not annotation.name.endswith("#11"), *[True] * 4]


def test_a_box_that_cannot_be_right_names_its_object(tmp_path):
    data = coco.load(crowds.make_crowds(tmp_path / "crowds", [2, 2]))
    wrong = dataclasses.replace(data.annotations[0], box=(900.0, 0, 950, 20))
    with pytest.raises(HomologError, match=r"^crowd01.png#11: box: expected .*outside the image"):
        loader(data)(wrong, UNCHANGED)


def test_training_on_objects_is_training_on_crops_by_hand(tmp_path):
    path = crowds.make_crowds(tmp_path / "crowds", [2, 3])
    data = coco.load(path)
    cropped = coco.load(crowds.crop_to_objects(path, tmp_path / "crops", MARGIN))
    names = {pair.name for pair in data.pairs}  # not those of objects of one image
    cropped = cropped.select([i for i, pair in enumerate(cropped.pairs) if pair.name in names])
    assert [pair.name for pair in cropped.pairs] == [pair.name for pair in data.pairs]
    config = dataclasses.replace(CONTEXT, steps=4)
    for folder, each in (("objects", data), ("crops", cropped)):
        train(each, tmp_path / folder, toy_matcher(), config, validation=each)
    ours, theirs = log_lines(tmp_path / "objects"), log_lines(tmp_path / "crops")
    assert any("validation pck" in line for line in ours)
    for line, expected in zip(ours, theirs, strict=True):
        line.pop("seconds", None), expected.pop("seconds", None)
        assert line == pytest.approx(expected, rel=1e-3, abs=1e-4)
    results = json.loads((tmp_path / "objects" / "report" / "results.json").read_text())
    assert results["boxes"] == "annotated"
