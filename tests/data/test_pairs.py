"""What holds for every data set, and pairs that are made when they are accessed."""

import itertools

import numpy as np
import pytest
from helpers import datasets

from homolog import HomologError
from homolog.data import Annotation, DataSet, LazyPairs, ap10k, coco, pf_pascal, pf_willow, spair

LOADERS = {
    "spair": (datasets.make_spair, spair.load),
    "ap10k": (datasets.make_ap10k, ap10k.load),
    "pf_pascal": (datasets.make_pf_pascal, pf_pascal.load),
    "pf_pascal trn": (datasets.make_pf_pascal, lambda root: pf_pascal.load(root, "trn")),
    "pf_willow": (datasets.make_pf_willow, pf_willow.load),
    "coco": (datasets.make_coco, coco.load),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_every_data_set(kind, tmp_path):
    make, load = LOADERS[kind]
    dataset = load(make(tmp_path / "set"))
    assert len(dataset.pairs) > 0
    assert len({pair.name for pair in dataset.pairs}) == len(dataset.pairs)
    annotations = dataset.annotations
    assert len({annotation.name for annotation in annotations}) == len(annotations)
    for annotation in annotations:
        assert len(annotation.keypoints) == len(dataset.schemas[annotation.category])
        assert kind == "ap10k" or annotation.path.is_file()
        assert annotation.reference_length(dataset.threshold) > 0
    for schema in dataset.schemas.values():
        assert all(schema.mirror[schema.mirror[i]] == i for i in range(len(schema)))
    for pair in dataset.pairs:
        assert pair.source.path != pair.target.path
        assert len(pair.keypoint_ids) > 0
        for member in (pair.source, pair.target):
            assert np.isfinite(member.keypoints[pair.keypoint_ids]).all()
    again = load(tmp_path / "set" if kind != "coco" else dataset.root)
    assert datasets.pair_names(dataset) == datasets.pair_names(again)
    assert dataset.fingerprint() == again.fingerprint()


@pytest.fixture
def lazy(tmp_path) -> DataSet:
    """Six annotations of which the last is in no pair."""
    keypoints = np.arange(8.0).reshape(4, 2)
    annotations = [
        Annotation(str(i), tmp_path / f"{i}.png", "toy", keypoints, (0.0, 0.0, 9.0, 9.0))
        for i in range(6)
    ]
    index = np.array([(3, 1), *itertools.permutations(range(5), 2)])
    return DataSet("toys", tmp_path, {}, LazyPairs(annotations, index), "box", (0.1,))


def test_annotations_are_found_once(lazy):
    """Accessed again they are the same list, in the order in which the pairs use them."""
    found = lazy.annotations
    assert found is lazy.annotations
    assert [annotation.name for annotation in found] == ["3", "1", "0", "2", "4"]
    members = (member for pair in lazy.pairs for member in (pair.source, pair.target))
    assert found == list(dict.fromkeys(members))


def test_annotations_of_lazy_pairs_are_found_without_making_pairs(lazy, monkeypatch):
    def make_pair(*args):
        raise AssertionError("a pair was made")

    monkeypatch.setattr(type(lazy.pairs), "__getitem__", make_pair)
    assert len(lazy.annotations) == 5


def test_lazy_pairs_are_made_when_accessed(lazy):
    pairs = lazy.pairs
    assert len(pairs) == 21 and pairs[0].name == "3:1" and pairs[0] is not pairs[0]
    assert isinstance(pairs[3:9], LazyPairs)
    assert [pair.name for pair in pairs[3:9]] == [pair.name for pair in pairs][3:9]
    assert pairs[0].source is lazy.annotations[0]


def test_selected_pairs_stay_lazy(lazy):
    some = lazy.select([5, 2], name="some")
    assert isinstance(some.pairs, LazyPairs) and some.name == "some"
    assert [pair.name for pair in some.pairs] == [lazy.pairs[5].name, lazy.pairs[2].name]
    assert isinstance(lazy.subsample(7).pairs, LazyPairs)


def test_subsampling_is_even_and_noted(lazy):
    few = lazy.subsample(3)
    assert [pair.name for pair in few.pairs] == [lazy.pairs[i].name for i in (0, 10, 20)]
    assert few.notes == ("3 of 21 pairs, evenly sampled",)
    assert lazy.subsample(21) is lazy and lazy.subsample(None) is lazy
    with pytest.raises(HomologError, match="limit: expected at least 1 pair, got 0"):
        lazy.subsample(0)
    assert few.fingerprint() != lazy.fingerprint()
