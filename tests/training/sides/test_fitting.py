"""Fitting a side head: what is learned, from which examples, and that it resumes."""

import dataclasses

import pytest
import torch
from helpers.toy_sides import corner_cue

from homolog.networks.sides import SideHead, SidesConfig
from homolog.training.sides import Examples, SidesRecipe, fit, fitting, score
from homolog.training.sides.fitting import RowSampler
from homolog.training.sides.losses import SidesObjective

SMALL = SidesConfig(6, components=6, widths=(8, 8, 16), layers=1)


def test_a_distant_cue_is_learned_and_the_same_seed_gives_the_same_weights():
    config = SidesConfig(6, components=6, widths=(16, 16, 32), layers=1)
    recipe = SidesRecipe(
        steps=200, batch_size=16, learning_rate=4e-3, channel_drop=0, block_mask=0, style_mix=0.2
    )
    examples = corner_cue(128, 0)
    networks = []
    for _ in range(2):
        torch.manual_seed(1)
        network = SideHead(config)
        before = score(network.eval(), examples, range(128)).accuracy
        fit(network, examples, range(96), recipe)
        networks.append(network)
    assert before < 0.8
    held_out = score(networks[0], examples, range(96, 128))
    assert held_out.num_keypoints == 64
    assert held_out.accuracy > 0.9
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_only_the_given_rows_are_trained_on():
    recipe = SidesRecipe(steps=5, batch_size=4)
    examples, others = corner_cue(16, 0), corner_cue(16, 1)
    names = [field.name for field in dataclasses.fields(Examples)]
    mixed = Examples(
        *(torch.cat([getattr(examples, name)[:8], getattr(others, name)[8:]]) for name in names)
    )
    weights = []
    for each in (examples, mixed):
        torch.manual_seed(0)
        network = SideHead(SMALL)
        fit(network, each, range(8), recipe)
        weights.append(network.leave.weight)
    assert torch.equal(*weights)


def test_losses_that_are_left_out_train_nothing():
    torch.manual_seed(0)
    network = SideHead(SMALL)
    before = network.leave.weight.clone()
    recipe = SidesRecipe(
        steps=5, batch_size=4, weight_decay=0.0, losses=("objectness", "coordinates")
    )
    fit(network, corner_cue(16, 0), range(16), recipe)
    trained = (network.leave.weight != before).any(1)
    assert trained.tolist() == [True, False, True, True, True, False, False, False]


def test_an_interrupted_fit_resumes_to_the_last_bit(tmp_path, monkeypatch):
    """Weights, their average, moments, dropout, and which examples are drawn."""
    examples, recipe = corner_cue(16, 0), SidesRecipe(steps=12, batch_size=4)
    monkeypatch.setattr(fitting, "SAVE_EVERY", 3)

    def fitted(folder) -> torch.Tensor:
        torch.manual_seed(0)
        network = SideHead(SMALL)
        fit(network, examples, range(16), recipe, folder)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    update = SidesObjective.update_average

    def stopping(objective: SidesObjective, step: int) -> None:
        if step == 8:
            raise KeyboardInterrupt
        update(objective, step)

    with monkeypatch.context() as patch:
        patch.setattr(SidesObjective, "update_average", stopping)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path)
    assert fitted(tmp_path).equal(fitted(None))


def test_a_sampler_that_starts_late_draws_the_same():
    recipe = SidesRecipe(batch_size=3)
    early, late = RowSampler(range(9), recipe), RowSampler(range(9), recipe)
    batches = [early.draw(step, 0) for step in range(6)]
    for step in (4, 5):
        for one, other in zip(late.draw(step, 0), batches[step], strict=True):
            assert one.equal(other)
