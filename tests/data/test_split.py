"""Held-out sets have no image in common with the training set, and their pairs stay lazy."""

from helpers import crowds, datasets

from homolog.data import LazyPairs, coco
from homolog.data.split import hold_out


def test_held_out_images(tmp_path):
    """Of each category with at least ten images the last by name are held out."""
    data = coco.load(datasets.make_coco(tmp_path, images=10))
    training, held_out = hold_out(data, 0.25)
    names = {annotation.name for annotation in held_out.annotations}
    assert names == {f"{animal}_{i}.jpg" for animal in ("ant", "fox") for i in (7, 8, 9)}
    assert not set(training.annotations) & set(held_out.annotations)
    expected = [
        pair.name for pair in data.pairs if not {pair.source.name, pair.target.name} & names
    ]
    assert [pair.name for pair in training.pairs] == expected
    assert held_out.name == f"{data.name}, held out" and training.name == data.name
    assert isinstance(training.pairs, LazyPairs) and isinstance(held_out.pairs, LazyPairs)


def test_small_categories_are_not_split(tmp_path):
    data = coco.load(datasets.make_coco(tmp_path, images=9))
    assert hold_out(data, 0.5) == (data, None)


def test_objects_of_one_image_stay_together(tmp_path):
    data = coco.load(crowds.make_crowds(tmp_path, [2, 1, 3] * 4))
    training, held_out = hold_out(data, 0.25)
    assert {a.path.name for a in held_out.annotations} == {f"crowd{i}.png" for i in (10, 11, 12)}
    assert {a.path.name for a in training.annotations} == {f"crowd{i:02}.png" for i in range(1, 10)}
    assert len(training.annotations) == 18 and len(held_out.annotations) == 6
