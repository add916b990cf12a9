"""A default with a post-processor that was trained without labels, beside its side head.

Random weights stand for such a post-processor.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.toy_training import CONTEXT, toy_data, toy_matcher
from helpers.toys import random_image

from homolog import HomologError, Matcher, checkpoints
from homolog.config import CalibrationConfig, MatcherConfig, PostProcessorConfig
from homolog.image.poses import IDENTITY
from homolog.labelling.calibration import TRAINED, Calibration
from homolog.labelling.exemplars import Exemplars
from homolog.labelling.likeness import Likeness
from homolog.networks import bundled
from homolog.networks.context import AttentionHead, load_bundled
from homolog.presets import PRESETS
from homolog.training import run as training_run
from homolog.training import train
from homolog.utils.serialization import to_plain
from homolog.utils.tensor_files import read_tensors, tensor_bytes

CALIBRATION = CalibrationConfig(
    (1.0, 2.0, 3.0, 4.0, -5.0), recognised=(1.0, -1.0, 2.0, 0.5), least_likeness=0.3
)
POST_PROCESSOR = PostProcessorConfig(
    "descriptors",
    zero_shot=0.5,
    trained_on="pseudo-labels",
    calibration=CALIBRATION,
    zero_shot_threshold=0.42,
)


def head(seed: int = 0, feature_dim: int = 1032) -> AttentionHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentionHead(feature_dim, 32, components=min(64, feature_dim), width=32, layers=1)


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Matcher:
    """The default as it will be: two files of weights, and a value in the presets."""
    own = bundled.resources.files("homolog").joinpath("assets", "embedded", bundled.SIDES)
    folder = tmp_path / "assets" / "embedded"
    folder.mkdir(parents=True)
    (folder / bundled.SIDES).write_bytes(own.read_bytes())
    rounded = {name: tensor.half() for name, tensor in head().state_dict().items()}
    (folder / bundled.NETWORK).write_bytes(tensor_bytes(rounded))
    config = dataclasses.replace(
        PRESETS["embedded"](), same_category_threshold=0.6, post_processor=POST_PROCESSOR
    )
    monkeypatch.setattr(bundled.resources, "files", lambda _: tmp_path)
    monkeypatch.setattr("homolog.model.PRESETS", {**PRESETS, "embedded": lambda: config})
    return Matcher.from_pretrained("embedded", device="cpu")


def test_weights_come_with_the_package(shipped):
    assert shipped.name == "embedded"
    for network in (shipped.network, shipped.side_head):
        assert not network.training
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    expected = head()
    assert str(shipped.network) == str(expected)  # its architecture is read from the weights
    for name, tensor in shipped.network.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name].half().float())


def test_presets_of_others_have_them_too(matcher, monkeypatch):
    config = dataclasses.replace(PRESETS["embedded"](), window=2)
    monkeypatch.setattr("homolog.model.PRESETS", {"mine": lambda: config})
    found = Matcher.from_pretrained("mine", device="cpu")
    assert found.name == "mine" and found.weights_digest == matcher.weights_digest


def test_it_is_told_from_the_default_before(shipped, matcher):
    assert shipped.weights_digest != matcher.weights_digest
    features = matcher.extract(random_image(200, 150, 0))
    with pytest.raises(HomologError, match="those of another matcher"):
        shipped.extract(features)
    # Feature maps are the backbone's, and caches of them stay as they are.
    assert shipped.feature_cache_key == matcher.feature_cache_key


def test_its_zero_shot_part_is_the_preset_of_that_name(shipped, matcher):
    image = random_image(200, 150, 0)
    zero_shot = shipped.with_config(post_processor=None, sides=None)
    expected = Matcher.from_pretrained("embedded-zero-shot", device="cpu")
    assert zero_shot.network is None and zero_shot.side_head is None
    assert zero_shot.config == expected.config and zero_shot.weights_digest is None
    features = zero_shot.extract(image)
    assert torch.equal(features.descriptors, expected.extract(features).descriptors)
    sided = shipped.with_config(post_processor=None)
    scores = matcher.config.score_calibration  # of the descriptors that the head is a part of
    assert dataclasses.replace(sided.config, score_calibration=scores) == matcher.config
    assert sided.config.score_calibration is None and sided.weights_digest == matcher.weights_digest
    assert torch.equal(sided.extract(image).descriptors, matcher.extract(image).descriptors)
    # What is given explicitly counts.
    assert shipped.with_config(
        post_processor=None, same_category_threshold=0.1
    ).config.same_category_threshold == pytest.approx(0.1)
    assert shipped.with_config(window=2).network is shipped.network


def test_networks_that_are_not_there_cannot_be_asked_for(shipped, matcher):
    with pytest.raises(HomologError, match="post_processor: expected None for a model without"):
        matcher.with_config(post_processor=POST_PROCESSOR)
    plain = shipped.with_config(sides=None)
    with pytest.raises(HomologError, match="sides: expected None for a model without"):
        plain.with_config(sides=shipped.config.sides)


def test_a_model_folder_keeps_all_of_it(shipped, tmp_path):
    folder = tmp_path / "model"
    checkpoints.save(folder, shipped.network, shipped.config, side_head=shipped.side_head)
    loaded = Matcher.from_pretrained(folder, device="cpu")
    assert loaded.config == shipped.config
    assert loaded.weights_digest == shipped.weights_digest


def test_folders_do_not_say_what_they_do_not_need(shipped):
    """So that those of before are read, and runs that were begun before go on."""
    assert "trained_on" not in to_plain(PostProcessorConfig("maps"))
    plain = json.loads(json.dumps(to_plain(shipped.config)))
    assert MatcherConfig.from_dict(plain) == shipped.config


def test_weights_that_do_not_fit_are_named(shipped, tmp_path):
    path = tmp_path / "assets" / "embedded" / bundled.NETWORK
    state = read_tensors(path)
    path.write_bytes(tensor_bytes({k: v for k, v in state.items() if k != "leave.weight"}))
    with pytest.raises(HomologError, match=r"post-processor of embedded, got none .*leave\.weight"):
        load_bundled()
    path.unlink()
    with pytest.raises(HomologError, match=r"cannot read .*model\.safetensors"):
        Matcher.from_pretrained("embedded", device="cpu")


# Training.


@pytest.fixture
def adapted() -> Matcher:
    """A toy matcher with a head that was trained without labels."""
    plain = toy_matcher()
    dims = plain.extract(random_image(96, 80)).descriptors.shape[2]
    config = dataclasses.replace(
        plain.config, same_category_threshold=0.9,
        post_processor=dataclasses.replace(POST_PROCESSOR, zero_shot_threshold=0.5),
    )  # fmt: skip
    return Matcher(plain.backbone, config, network=head(feature_dim=dims).eval())


def test_training_takes_its_zero_shot_part(adapted, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "write_report", lambda *_: None)
    data = toy_data(tmp_path / "images")
    config = dataclasses.replace(CONTEXT, steps=2)
    found = {}
    for name, start in (("plain", toy_matcher()), ("adapted", adapted)):
        folder = train(data, tmp_path / name, start, config)
        files = (folder / each for each in ("config.json", "model.safetensors", "run.json"))
        found[name] = [path.read_bytes() for path in files]
    assert found["adapted"] == found["plain"]


def test_models_trained_on_labels_are_not_trained_anew(adapted, tmp_path):
    settings = dataclasses.replace(adapted.config.post_processor, trained_on="labels")
    config = dataclasses.replace(adapted.config, post_processor=settings)
    trained = Matcher(adapted.backbone, config, network=adapted.network)
    with pytest.raises(HomologError, match="try it as the start of a run"):
        train(toy_data(tmp_path / "images"), tmp_path / "run", trained, CONTEXT)


# What similarities mean.


def test_exemplars_tell_how_good_it_is(adapted, tmp_path):
    data = toy_data(tmp_path / "images")
    few = data.annotations[:4]
    found = Exemplars(adapted, few, data.schemas, [IDENTITY])
    assert found.calibration.adapted and found.calibration.weights == CALIBRATION
    single = Exemplars(adapted, few[:1], data.schemas, [IDENTITY])
    assert single.calibration == Calibration(weights=CALIBRATION)
    settings = PostProcessorConfig("descriptors", zero_shot=0.5)
    config = dataclasses.replace(adapted.config, post_processor=settings)
    trained = Matcher(adapted.backbone, config, network=adapted.network)
    assert Exemplars(trained, few, data.schemas, [IDENTITY]).calibration == TRAINED


def test_probabilities_are_those_of_its_weights():
    rows = np.array([[0.5, 0.25, 1.0, 0.5, 0.1]])
    logit = 0.5 * 1 + 0.25 * 2 + 1.0 * 3 + 0.5 * 4 - 5
    found = Calibration(weights=CALIBRATION).probability(rows)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logit)))


def test_likeness_has_its_weights(adapted, tmp_path):
    (exemplar, other) = toy_data(tmp_path / "images").annotations[:2]
    cells = adapted.descriptor_map(other.path)

    def logits(*weights: float) -> np.ndarray:
        calibration = dataclasses.replace(CALIBRATION, unrecognised=weights)
        settings = dataclasses.replace(adapted.config.post_processor, calibration=calibration)
        fitted = adapted.with_config(post_processor=settings)
        return Likeness(fitted, [exemplar]).logits(cells)

    np.testing.assert_allclose(logits(0.0, 0.0, 9.0, 0.25), 0.25)
    inside, outside = logits(1.0, 0.0, 0.0, 0.0), logits(0.0, 1.0, 0.0, 0.0)
    assert np.ptp(inside) > 0.05
    np.testing.assert_allclose(
        logits(2.0, -3.0, 0.0, 0.5), 2 * inside - 3 * outside + 0.5, atol=1e-5
    )
