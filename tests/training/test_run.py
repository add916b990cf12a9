"""Runs of `train`: what becomes of them, what they start from, how they are extended."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.toy_training import (
    CONTEXT,
    PUBLISHED,
    RESIDUAL,
    log_lines,
    run,
    toy_data,
    toy_matcher,
)
from helpers.toys import ColourBackbone, random_image

from homolog import HomologError, KeypointSchema, Matcher
from homolog.backbones.configs import StableDiffusionConfig
from homolog.image import reading
from homolog.networks.context import AttentionHead
from homolog.training import ViewsConfig, train
from homolog.training import run as training_run
from homolog.training.models import with_new_landmarks
from homolog.training.report import read_report


@pytest.fixture
def unreported(monkeypatch):
    """Runs end without their report, which takes several times as long as the toy's steps."""
    monkeypatch.setattr(training_run, "write_report", lambda *_: None)


@pytest.mark.parametrize("config", [CONTEXT, PUBLISHED, RESIDUAL], ids=lambda c: c.network.kind)
def test_a_run_becomes_a_model(tmp_path, config):
    config = dataclasses.replace(config, steps=9)
    folder = run(tmp_path / "run", config)
    trained = Matcher.from_pretrained(str(folder))
    # The best of the validations, with the score that it had then.
    scores = [line["validation pck"] for line in log_lines(folder) if "validation pck" in line]
    assert len(scores) == 3
    results = json.loads((folder / "report" / "results.json").read_text())
    assert results["per_image"]["pck@0.10"] == pytest.approx(max(scores))
    report = read_report(folder, toy_data(tmp_path / "images"), config)
    assert report.to_dict()["per_image"] == results["per_image"]
    for name in ("loss.png", "validation.png", "best.png", "worst.png"):
        assert min(reading.image_size(folder / "report" / name)) > 200
    assert any((folder / "tensorboard").iterdir())
    last = Matcher.from_pretrained(str(folder / "last"))
    assert last.network.state_dict().keys() == trained.network.state_dict().keys()
    # Its features are not those of other matchers.
    image = random_image(96, 80)
    features = trained.extract(image)
    assert trained.transfer(features, features, [(48, 40)]).keypoints1 == pytest.approx(
        np.array([[48, 40]]), abs=8
    )
    with pytest.raises(HomologError, match="those of another matcher"):
        toy_matcher().transfer(features, image, [(48, 40)])
    if scores.index(max(scores)) < 2:
        with pytest.raises(HomologError, match="those of another matcher"):
            last.transfer(features, image, [(48, 40)])


@pytest.mark.usefixtures("unreported")
def test_residual_starts_as_the_zero_shot_descriptors(tmp_path):
    plain, image = toy_matcher(), random_image(96, 80)
    config = dataclasses.replace(RESIDUAL, steps=1, learning_rate=1e-12)
    folder = run(tmp_path / "run", config)
    trained = Matcher.from_pretrained(str(folder))
    torch.testing.assert_close(trained.extract(image).descriptors, plain.extract(image).descriptors)


@pytest.mark.usefixtures("unreported")
def test_the_seed_decides_everything(tmp_path):
    """Also the prototypes, which are dropped after training."""
    config = dataclasses.replace(CONTEXT, steps=2)
    weights = []
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        torch.manual_seed(len(weights))  # what others have drawn before has no influence
        folder = run(tmp_path / name, dataclasses.replace(config, seed=seed))
        weights.append((folder / "state.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_run_without_flips(tmp_path):
    data = dataclasses.replace(toy_data(tmp_path), schemas={"toy": KeypointSchema.numbered(5)})
    config = dataclasses.replace(CONTEXT, steps=1, views=ViewsConfig(flip=False))
    train(data, tmp_path / "run", toy_matcher(), config)
    assert not (tmp_path / "run" / "report" / "results.json").exists()
    assert (tmp_path / "run" / "report" / "loss.png").exists()
    assert Matcher.from_pretrained(str(tmp_path / "run")).network is not None


class PromptedBackbone(ColourBackbone):
    """Remembers the categories that a prompt was filled in with."""

    def __init__(self):
        super().__init__()
        self.categories = set()

    def __call__(self, canvases, category):
        self.categories.add(category)
        return super().__call__(canvases)


def test_a_prompt_with_the_category(tmp_path):
    """It is filled in while training, in validation, and for the report."""
    backbone = PromptedBackbone()
    prompted = StableDiffusionConfig("somewhere", prompt="a photo of a {category}")
    config = dataclasses.replace(toy_matcher().config, backbone=prompted)
    data = toy_data(tmp_path / "images", 4, "bee")
    folder = tmp_path / "run"
    train(data, folder, Matcher(backbone, config), dataclasses.replace(CONTEXT, steps=2),
          validation=data)  # fmt: skip
    assert backbone.categories == {"bee"}
    assert (folder / "report" / "results.json").exists()
    backbone_on_disk = json.loads((folder / "config.json").read_text())["matcher"]["backbone"]
    assert backbone_on_disk["prompt"] == "a photo of a {category}"


@pytest.mark.usefixtures("unreported")
def test_runs_are_not_mixed(tmp_path):
    config = dataclasses.replace(CONTEXT, steps=2)
    folder = run(tmp_path / "run", config)
    before = (folder / "log.jsonl").read_bytes()
    with pytest.raises(HomologError, match=f"^out: .*{folder}"):
        run(folder, dataclasses.replace(config, seed=1))
    run(folder, config)  # done already: nothing is lost, nothing is trained
    assert (folder / "log.jsonl").read_bytes() == before


def test_a_finished_run_is_extended(tmp_path):
    config = dataclasses.replace(CONTEXT, steps=4)
    folder = run(tmp_path / "run", config)
    first = log_lines(folder)
    with pytest.raises(HomologError) as error:
        run(folder, dataclasses.replace(config, steps=3))
    assert str(error.value) == (
        f"steps: expected at least 4, for which the run in {folder} was started, got 3; "
        "try another folder"
    )
    report = folder / "report" / "results.json"
    report.write_text("of the first four steps")
    run(folder, dataclasses.replace(config, steps=10))
    lines = log_lines(folder)
    assert lines[: len(first)] == first, "the first steps are not made again"
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    whole = run(tmp_path / "whole", dataclasses.replace(config, steps=10))
    expected = [line["learning_rate"] for line in log_lines(whole) if "loss" in line]
    assert [line["learning_rate"] for line in steps[4:]] == pytest.approx(expected[4:])
    scores = [line["validation pck"] for line in lines if "validation pck" in line]
    found = json.loads(report.read_text())["per_image"]["pck@0.10"]
    assert found == pytest.approx(max(scores)), "the report is that of all steps"
    assert json.loads((folder / "run.json").read_text())["steps"] == 10
    with pytest.raises(HomologError, match="expected at least 10"):
        run(folder, config)


@pytest.mark.usefixtures("unreported")
def test_a_run_starts_from_a_trained_model(tmp_path):
    first = run(tmp_path / "first", dataclasses.replace(CONTEXT, steps=2))
    again = dataclasses.replace(CONTEXT, steps=1, learning_rate=1e-12)
    second = run(tmp_path / "second", again, start=first)
    a, b = (Matcher.from_pretrained(str(path)).network.state_dict() for path in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    with pytest.raises(HomologError, match="of this network"):
        run(tmp_path / "third", dataclasses.replace(PUBLISHED, steps=1), start=first)
    config = json.loads((first / "config.json").read_text())
    config["matcher"]["backbone"] = "another"
    (first / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        HomologError, match=r"expected a model trained on colour, got .* on another"
    ):
        run(tmp_path / "fourth", again, start=first)
    with pytest.raises(HomologError, match="got one that is trained already"):
        train(
            toy_data(tmp_path / "p"),
            tmp_path / "fifth",
            Matcher.from_pretrained(str(second)),
            again,
        )


def test_landmarks_added_to_a_head_that_has_none_change_nothing_at_first():
    torch.manual_seed(0)
    trained = AttentionHead(24, 16, 12, width=16).eval()
    network = AttentionHead(24, 16, 12, width=16, landmarks=(0.0, 0.4, 1.0)).eval()
    features = torch.randn(1, 24, 6, 6)
    assert not torch.equal(network(features), trained(features))
    network.load_state_dict(with_new_landmarks(network, trained))
    torch.testing.assert_close(network(features), trained(features))
    torch.testing.assert_close(network.positions, torch.tensor([0.0, 0.4, 1.0]))
    # Of the same kind, all weights are taken, and of another kind, none are made up.
    assert with_new_landmarks(trained, trained).keys() == trained.state_dict().keys()
    assert with_new_landmarks(trained, network).keys() == network.state_dict().keys()
