"""Adaptation to a folder before its images are labelled: whether, once only, and if it helps."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import real_images
from helpers import toy_annotate
from helpers.toy_training import toy_data, toy_matcher

from homolog import HomologError, Matcher
from homolog.data.exemplars import read
from homolog.data.labels import Labels
from homolog.labelling import adapting
from homolog.labelling.adapting import adapted_model, model_folder
from homolog.labelling.propagate import annotate
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.images import UnsuitableImagesError
from homolog.training.adaptation.run import AdaptationResult
from homolog.utils.serialization import to_plain

IMAGES = 6


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(adapting, "FEWEST", IMAGES)
    toy_data(tmp_path / "images", IMAGES)
    return tmp_path / "images"


@pytest.fixture
def adapted(monkeypatch):
    """Stands in for `adapt`: counts its calls, and leaves what a finished run leaves."""
    calls, after = [], [0.6]

    def adapt(images, out, matcher, config, *, exemplars):
        calls.append((images, out, exemplars))
        if after[0] is None:
            raise UnsuitableImagesError(
                "images: expected images whose objects can be matched, got others"
            )
        (out / "report").mkdir(parents=True)
        run = {"model": to_plain(matcher.config), "weights": matcher.weights_digest}
        (out / "run.json").write_text(json.dumps(run))
        plain = {
            "images": {"used": IMAGES, "left_out": {}}, "zero_shot": 0.5,
            "consistency": {"before": 0.5, "after": after[0]},
        }  # fmt: skip
        (out / "report" / "results.json").write_text(json.dumps(plain))
        (out / "images.csv").write_text("file,used,reason,bytes\n")
        return AdaptationResult.read(out)

    monkeypatch.setattr(adapting, "adapt", adapt)
    return calls, after


def test_a_folder_is_adapted_to_once(folder, adapted, tmp_path):
    calls, _ = adapted
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    out = tmp_path / "labels.json"
    model, notes = adapted_model(toy_matcher(), exemplars, folder, out)
    assert model == model_folder(out) == tmp_path / "labels.model"
    assert calls == [(folder, model, exemplars)]
    line = f"adapted: cycle consistency on images kept aside grew from 50.0 to 60.0 %: {model}"
    assert notes == [line]
    # More labels, fewer images: it is used as it is.
    (folder / "toy0.png").unlink()
    more = toy_annotate.exemplars(tmp_path / "exemplars", 3)
    again, notes = adapted_model(toy_matcher(), more, folder, out)
    assert again == model and len(calls) == 1
    assert notes == [f"adapted before: {model}; to adapt anew, remove it", line]


def test_few_images(folder, adapted, tmp_path, monkeypatch):
    monkeypatch.setattr(adapting, "FEWEST", IMAGES + 1)
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    found = adapted_model(toy_matcher(), exemplars, folder, tmp_path / "labels.json")
    assert found == (None, [f"not adapted: expected at least 7 images, got 6 in {folder}"])
    assert not adapted[0]


def test_a_model_that_is_no_better_is_not_used(folder, adapted, tmp_path):
    calls, after = adapted
    after[0] = 0.5
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    for _ in range(2):
        model, notes = adapted_model(toy_matcher(), exemplars, folder, tmp_path / "labels.json")
        assert model is None and "did not grow, from 50.0 to 50.0 %" in notes[-1]
    assert len(calls) == 1


def test_images_that_cannot_be_adapted_to(folder, adapted, tmp_path):
    adapted[1][0] = None
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    model, notes = adapted_model(toy_matcher(), exemplars, folder, tmp_path / "labels.json")
    assert model is None
    (note,) = notes
    assert note.startswith("not adapted: images: expected images whose objects")


def test_what_annotate_refuses_is_refused_before_the_work(folder, adapted, tmp_path):
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(HomologError, match="out: expected a file that does not exist"):
        adapted_model(toy_matcher(), exemplars, folder, tmp_path / "labels.json")
    with pytest.raises(HomologError, match="out: expected a name in"):
        adapted_model(toy_matcher(), exemplars, folder, tmp_path / "labels.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HomologError, match="images: expected a folder with images"):
        adapted_model(toy_matcher(), exemplars, tmp_path / "empty", tmp_path / "more.json")
    assert not adapted[0]


def test_an_adaptation_of_another_model_is_refused(folder, adapted, tmp_path):
    exemplars = toy_annotate.exemplars(tmp_path / "exemplars")
    out = tmp_path / "labels.json"
    adapted_model(toy_matcher(), exemplars, folder, out)
    with pytest.raises(HomologError, match=r"out: expected an adaptation of this model in .*model"):
        adapted_model(toy_matcher().with_config(window=3), exemplars, folder, out)
    (model_folder(out) / "run.json").write_text("[]")
    with pytest.raises(HomologError, match="out: expected the record of a run"):
        adapted_model(toy_matcher(), exemplars, folder, out)


@pytest.mark.slow
@pytest.mark.skipif(not (real_images.ROOT / "bees").is_dir(), reason="no real photos")
def test_bees(tmp_path, monkeypatch, matcher):
    """Three labelled bees and fifteen others, to which the default model is briefly adapted."""
    monkeypatch.setattr(adapting, "FEWEST", 15)
    document = json.loads((real_images.ROOT / "bees" / "train.json").read_text())
    for image in document["images"]:
        image["file_name"] = os.path.basename(image["file_name"])
    names = sorted(image["file_name"] for image in document["images"])[::9][:18]
    (tmp_path / "bees").mkdir()
    for name in names:
        shutil.copy(real_images.ROOT / "bees" / "pose" / name, tmp_path / "bees" / name)
    few = [image for image in document["images"] if image["file_name"] in names[:3]]
    ids = {image["id"] for image in few}
    labelled = [each for each in document["annotations"] if each["image_id"] in ids]
    (tmp_path / "few.json").write_text(
        json.dumps({**document, "images": few, "annotations": labelled})
    )
    exemplars = read(tmp_path / "few.json", tmp_path / "bees")
    assert len(exemplars.annotations) == 3
    config = AdaptationConfig(rotations=False, rounds=1)
    config = dataclasses.replace(
        config,
        mining=dataclasses.replace(config.mining, neighbours=2, random_pairs=1, queries=80),
        head=dataclasses.replace(config.head, steps=20, images=5),
        sides=dataclasses.replace(config.sides, steps=2),
    )
    arguments = (matcher, exemplars, tmp_path / "bees", tmp_path / "labels.json")
    model, notes = adapted_model(*arguments, config=config)
    again, before = adapted_model(*arguments, config=config)
    assert again == model and before[-len(notes) :] == notes
    folder = tmp_path / "labels.model"
    results = json.loads((folder / "report" / "results.json").read_text())
    assert results["exemplars"] == 3 and results["images"]["used"] == 18
    result = AdaptationResult.read(folder)
    assert (model is not None) == result.improved
    adapted = Matcher.from_pretrained(str(folder))
    annotate(adapted, *arguments[1:])
    labels = Labels.read(tmp_path / "labels.json", tmp_path / "bees")
    assert len(labels.images) == 18, "none of the report"
    assert len(labels.annotations) == 18
