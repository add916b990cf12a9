"""Published checkpoints become folders that load, and what is none is named."""

import dataclasses
import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import real_images
import torch
import torch.nn.functional as F
from helpers import parity
from helpers.command import run
from helpers.foundation import save_dino
from helpers.toys import random_image

from homolog import HomologError, Matcher
from homolog.backbones import DinoConfig, create
from homolog.checkpoints import load, save
from homolog.config import PostProcessorConfig
from homolog.networks.post_processor import PostProcessor
from homolog.presets import PRESETS
from homolog.published import convert

STORED = parity.tensors("post_processor")
STATE = {name[len("state.") :]: x for name, x in STORED.items() if name.startswith("state.")}
DIMS = (64, 128, 128, 96)
DIY_SC = real_images.ROOT.parent / "weights" / "diy_sc_dinov2_base.pth"
MODELS = Path(__file__).parents[1] / "docs" / "reference" / "models.md"


@pytest.mark.parametrize("wrap", ["plain", "nested", "parallel"])
def test_a_published_checkpoint(capsys, tmp_path, wrap):
    state = {
        "plain": STATE,
        "nested": {"epoch": 2, "state_dict": STATE},
        "parallel": {f"module.{name}": tensor for name, tensor in STATE.items()},
    }[wrap]
    torch.save(state, tmp_path / "official.pth")
    status, out, err = run(capsys, "convert", tmp_path / "official.pth", tmp_path / "model")
    assert status == 0, err
    assert "64 + 128 + 128 + 96" in out and "128" in out
    network = PostProcessor.from_pretrained(tmp_path / "model")
    assert network.feature_dims == DIMS
    with torch.no_grad():
        assert (network(STORED["input"]) - STORED["output"]).abs().max() <= 1e-5
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def published_head(state: dict[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """A head of one map as wide as its output, written out."""
    found = features
    for number in (1, 2, 3):
        name = f"bottleneck_layers.0.0.conv{number}"
        kernel = state[f"{name}.weight"]
        found = F.conv2d(found, kernel, padding=kernel.shape[2] // 2)
        found = F.group_norm(found, 32, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
        found = F.relu(found if number < 3 else found + features)
    return found


def test_a_head_for_dinov2_alone_gets_the_features_that_it_was_trained_on(tmp_path):
    torch.manual_seed(0)
    network = PostProcessor((768,), 768)
    torch.save(network.state_dict(), tmp_path / "head.pth")
    convert(tmp_path / "head.pth", tmp_path / "model")
    config, loaded = load(str(tmp_path / "model"), torch.device("cpu"))
    assert config.backbone == DinoConfig(
        "facebook/dinov2-base", 840, layers=(-1,), facet="tokens", pos_embed_mode="published"
    )
    assert (
        config.post_processor == PostProcessorConfig("maps", trained_on="pseudo-labels")
        and config.window == 7
    )

    # On a small canvas and a small model of that width: the output alone is normalised.
    folder = str(save_dino(tmp_path / "dinov2", "dinov2", layers=1, width=768))
    own = dataclasses.replace(config.backbone, model=folder, canvas_size=84)
    config = dataclasses.replace(config, backbone=own)
    backbone = create(own, torch.device("cpu"))
    image = random_image(84, 84)
    found = Matcher(backbone, config, network=loaded).extract(image).descriptors
    canvas = torch.from_numpy(np.array(image))[None]
    (features,) = backbone(canvas)
    (exact,) = create(dataclasses.replace(own, pos_embed_mode="exact"), backbone.device)(canvas)
    for given, same in ((features, True), (exact, False)):
        expected = F.normalize(published_head(network.state_dict(), given).detach(), dim=1)
        close = torch.allclose(found, expected[0].permute(1, 2, 0), atol=1e-4)
        assert close == same


@pytest.mark.skipif(not DIY_SC.is_file(), reason=f"{DIY_SC} is not there")
def test_the_head_of_diy_sc_gives_its_own_codes_output(tmp_path, capsys):
    """At nine of 9 x 9 cells of random input; the figures are those of the published code."""
    digest = hashlib.sha256(DIY_SC.read_bytes()).hexdigest()
    assert digest in MODELS.read_text()
    status, out, err = run(capsys, "convert", DIY_SC, tmp_path / "model")
    assert status == 0 and "768 channels, width 768" in out, err
    config, network = load(str(tmp_path / "model"), torch.device("cpu"))
    assert config.backbone.pos_embed_mode == "published"
    numbers = np.random.RandomState(7).standard_normal((1, 768, 9, 9)).astype(np.float32)
    with torch.no_grad():
        found = network(torch.from_numpy(numbers))
    expected = parity.tensors("diy_sc_head")["output"]
    assert (found[0, :, ::4, ::4] - expected).abs().max() <= 1e-5
    state = network.state_dict()
    torch.testing.assert_close(
        published_head(state, torch.from_numpy(numbers)), found, rtol=1e-4, atol=1e-4
    )


class Malicious:
    def __reduce__(self):
        return os.system, ("touch unpickled",)


def test_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, "bad.pth")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Malicious()))
    for name in ("bad.pth", "bad.pkl"):
        with pytest.raises(HomologError, match="expected a file of weights alone") as error:
            convert(tmp_path / name, tmp_path / "model")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "unpickled").exists() and not (tmp_path / "model").exists()


def without(name):
    return {key: tensor for key, tensor in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (without("logit_scale"), "got none called logit_scale"),
        (without("bottleneck_layers.0.0.conv1.weight"), "without 'bottleneck_layers.0.0.conv1"),
        (STATE | {"head.weight": torch.zeros(2)}, "got one called head.weight"),
        (STATE | {"mixing_weights": torch.zeros(3)}, r"got \(3,\)"),
        (STATE | {"mixing_weights": torch.full((4,), torch.nan)}, "others in mixing_weights"),
        ({"a": torch.zeros(1).expand(10**12)}, "without values of a"),
        ({"epoch": 3}, "with other content"),
        ([1, 2], "with other content"),
        ({}, "without"),
    ],
)
def test_other_checkpoints_are_named(tmp_path, state, reason):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(HomologError, match=f"other.pth.*{reason}"):
        convert(tmp_path / "other.pth", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(HomologError, match="cannot read"):
        convert(tmp_path / "missing.pth", tmp_path / "model")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(HomologError, match="expected a file of weights"):
        convert(tmp_path / "empty.pth", tmp_path / "model")
    torch.save(STATE, tmp_path / "good.pth")
    (tmp_path / "file").touch()
    with pytest.raises(HomologError, match="out: cannot write"):
        convert(tmp_path / "good.pth", tmp_path / "file")
    convert(tmp_path / "good.pth", tmp_path / "model")
    with pytest.raises(HomologError, match="out: expected a folder without a model"):
        convert(tmp_path / "good.pth", tmp_path / "model")


HEAD = {"network": "PostProcessor", "feature_dims": [64], "projection_dim": 128}
ATTENTION = {"network": "ContextProcessor", "feature_dim": 64, "components": 64}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("[1]", "pop"),
        ("[" * 100_000, "recursion"),
        (json.dumps(HEAD).replace("[64]", f"[{'9' * 5000}]"), "digits"),
        (HEAD | {"feature_dims": [10**9]}, "numbers up to 65,536"),
        (HEAD | {"feature_dims": 64}, ""),
        (HEAD | {"matcher": 1}, ""),
        (HEAD | {"projection_dim": -128}, "-128"),
        (ATTENTION | {"layers": 10**9}, "numbers up to 65,536"),
        (ATTENTION | {"feature_dim": -8, "components": -9}, "-8"),
        (ATTENTION | {"feature_dim": 1e999}, "finite"),
        ({"network": "Other"}, "Other"),
    ],
)
def test_absurd_configurations_are_one_line(tmp_path, changes, reason):
    save_head(tmp_path)
    path = tmp_path / "config.json"
    if isinstance(changes, str):
        path.write_text(changes)
    else:
        matcher = json.loads(path.read_text())["matcher"]
        path.write_text(json.dumps({"matcher": matcher} | changes))
    with pytest.raises(HomologError, match=r"^name: expected the configuration of .*: ") as error:
        load(str(tmp_path), torch.device("cpu"))
    assert "\n" not in str(error.value) and reason in str(error.value)
    assert len(str(error.value)) < 600


def save_head(folder):
    settings = PostProcessorConfig("maps")
    save(
        folder,
        PostProcessor([64], 128),
        dataclasses.replace(PRESETS["dinov2-base"](), post_processor=settings),
    )


def test_weights_are_compared_with_a_configuration_before_a_network_is_made(tmp_path):
    save_head(tmp_path)
    path = tmp_path / "config.json"
    plain = json.loads(path.read_text())
    for dims in ([65000], [64] * 5000):
        path.write_text(json.dumps(plain | {"feature_dims": dims}))
        with pytest.raises(
            HomologError, match=r"of (size 65000|5000 parts) in .*model.safetensors"
        ):
            load(str(tmp_path), torch.device("cpu"))


def test_weights_that_are_not_as_they_were_written_are_refused(tmp_path):
    save_head(tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(HomologError, match=r"model\.safetensors, which is damaged: it is not as"):
        load(str(tmp_path), torch.device("cpu"))
