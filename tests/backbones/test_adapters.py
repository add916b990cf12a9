"""Backbones that learn with the post-processor: what changes, what is saved, what comes back."""

import dataclasses
import itertools

import pytest
import safetensors.torch
import torch
from helpers import toy_training
from helpers.foundation import save_dino
from helpers.toys import ColourBackbone

from homolog import HomologError, Matcher
from homolog.backbones import TuningConfig, create
from homolog.backbones.adapters import LoRALinear, apply, prepare, tuned_state
from homolog.presets import dino
from homolog.training import NetworkConfig, train, trainer

pytest.importorskip("transformers")
CPU, SIDE = torch.device("cpu"), 56


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_dino(tmp_path_factory.mktemp("dino"), "dinov2"))


def backbone(folder):
    return create(dino(folder, SIDE).backbone, CPU)


def canvas():
    generator = torch.manual_seed(0)
    return torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("config", [TuningConfig(2), TuningConfig(1, rank=None)])
def test_it_starts_as_the_backbone_and_changes_the_last_blocks_only(folder, config):
    frozen, tuned = backbone(folder), backbone(folder)
    trained = prepare(tuned, config)
    (before,), (after,) = frozen(canvas()), tuned(canvas())
    torch.testing.assert_close(after, before)
    own = {int(part) for name in trained for part in name.split(".") if part.isdigit()}
    assert own == set(range(3 - config.blocks, 3))
    (found,) = tuned.feature_maps(canvas())
    found.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    if config.rank is None:
        # Gradients through recomputed activations are those of the plain model.
        frozen.blocks[2].requires_grad_(True)
        frozen.feature_maps(canvas())[0].square().mean().backward()
        for name, parameter in frozen.blocks[2].named_parameters():
            torch.testing.assert_close(tuned.blocks[2].get_parameter(name).grad, parameter.grad)


def test_an_adapter_is_a_sum_of_two_products():
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 3)
    adapted = LoRALinear(linear, rank=2)
    torch.nn.init.normal_(adapted.up)
    inputs = torch.randn(4, 7, 5)
    merged = torch.nn.functional.linear(
        inputs, linear.weight + adapted.up @ adapted.down, linear.bias
    )
    torch.testing.assert_close(adapted(inputs), merged)


@pytest.mark.parametrize("config", [TuningConfig(2, rank=3), TuningConfig(1, rank=None)])
def test_what_was_trained_comes_back(folder, config):
    tuned = backbone(folder)
    for parameter in prepare(tuned, config).values():
        torch.nn.init.normal_(parameter.data, std=0.2)
    state = tuned_state(tuned)
    again = backbone(folder)
    apply(again, config, state, "here")
    assert again(canvas())[0].equal(tuned(canvas())[0])
    assert not any(parameter.requires_grad for parameter in again.parameters())
    state.popitem()
    with pytest.raises(
        HomologError, match="expected the weights of this network in here, got none called"
    ):
        apply(backbone(folder), config, state, "here")


def test_a_run_trains_both_and_saves_the_change_alone(folder, tmp_path):
    data = toy_training.toy_data(tmp_path / "images", 4)
    settings = dataclasses.replace(dino(folder, SIDE), window=1)
    config = dataclasses.replace(
        toy_training.PUBLISHED, steps=4, tuning=TuningConfig(2, rank=2, learning_rate=0.05)
    )
    matcher = Matcher(create(settings.backbone, CPU), settings)
    run = train(data, tmp_path / "run", matcher, config, validation=data)
    state = safetensors.torch.load_file(run / "last" / "backbone.safetensors")
    assert state and all(name.endswith((".down", ".up")) for name in state)
    assert any(name.endswith(".up") and tensor.abs().max() > 0 for name, tensor in state.items())
    trained = Matcher.from_pretrained(str(run / "last"))
    path = data.annotations[0].path
    # The very descriptors of the matcher that was trained, and others than the frozen backbone's.
    live = Matcher(matcher.backbone, trained.config, network=trained.network)
    assert trained.extract(path).descriptors.equal(live.extract(path).descriptors)
    frozen = Matcher(create(settings.backbone, CPU), trained.config, network=trained.network)
    assert not frozen.extract(path).descriptors.equal(trained.extract(path).descriptors)
    # Stopped and taken up again, it comes out the same.
    again = Matcher(create(settings.backbone, CPU), settings)
    with pytest.MonkeyPatch.context() as patch:
        interrupted = _interrupted(trainer.accumulate_gradients, 3)
        patch.setattr(trainer, "accumulate_gradients", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "again", again, config, validation=data)
    again = Matcher(create(settings.backbone, CPU), settings)
    train(data, tmp_path / "again", again, config, validation=data)
    other = safetensors.torch.load_file(tmp_path / "again" / "last" / "backbone.safetensors")
    assert other.keys() == state.keys()
    assert all(tensor.equal(state[name]) for name, tensor in other.items())
    (run / "backbone.safetensors").unlink()
    with pytest.raises(HomologError, match="cannot read"):
        Matcher.from_pretrained(str(run))


def _interrupted(function, calls: int):
    """A function that raises `KeyboardInterrupt` after so many calls."""
    counter = itertools.count()

    def interrupted(*args):
        if next(counter) == calls:
            raise KeyboardInterrupt
        return function(*args)

    return interrupted


def test_what_cannot_be_tuned(folder, tmp_path):
    data = toy_training.toy_data(tmp_path / "images", 3)
    settings = dino(folder, SIDE)
    config = dataclasses.replace(toy_training.PUBLISHED, steps=1, tuning=TuningConfig(9))
    with pytest.raises(HomologError, match="tuning: expected 1 to 3 blocks, got 9"):
        train(data, tmp_path / "a", Matcher(backbone(folder), settings), config)
    residual = NetworkConfig("residual", 128)
    config = dataclasses.replace(config, tuning=TuningConfig(1), network=residual)
    with pytest.raises(
        HomologError, match="tuning: expected a recipe whose network takes the backbone's own maps"
    ):
        train(data, tmp_path / "b", Matcher(backbone(folder), settings), config)
    with pytest.raises(HomologError, match="expected a DINO transformer"):
        prepare(ColourBackbone(), TuningConfig(1))
