"""The training objective: what is trained besides the network, and where it starts."""

import dataclasses

import torch
from helpers.toy_training import CONTEXT

from homolog.networks.context import AttentionHead
from homolog.training.objective import Objective


def objective(seed: int) -> Objective:
    network = AttentionHead(12, 16, components=8, landmarks=[0.0, 1.0])
    return Objective(network, dataclasses.replace(CONTEXT, seed=seed), {"b": 5, "a": 3}, [0, 4])


def test_prototypes_start_from_the_seed_of_the_run():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = {name: p.clone() for name, p in objective(0).prototypes.items()}
    torch.manual_seed(4)
    again = objective(0).prototypes
    assert all(first[name].equal(again[name]) for name in first)
    assert not any(first[name].equal(p) for name, p in objective(1).prototypes.items())
    assert [p.shape for p in first.values()] == [(3, 16), (5, 16)]
    # Drawing them changes nothing for others.
    torch.set_rng_state(before)
    AttentionHead(12, 16, components=8, landmarks=[0.0, 1.0])
    expected = torch.rand(3)
    torch.set_rng_state(before)
    objective(0)
    assert torch.rand(3).equal(expected)


def test_losses_are_summed_and_each_has_a_gradient():
    torch.manual_seed(0)
    trained = objective(0)
    cells = torch.rand(2, 5, 2) * 5
    weights = 1 - torch.eye(2)
    losses = trained("b", torch.randn(2, 6, 6, 8), cells, torch.full((2,), 4.0), weights, weights)
    assert set(losses) == {"sparse", "dense", "prototypes", "landmarks", "loss"}
    parts = sum(value for name, value in losses.items() if name != "loss")
    torch.testing.assert_close(losses["loss"], parts)
    losses["loss"].backward()
    assert trained.prototypes["1"].grad.abs().sum() > 0
    assert trained.prototypes["0"].grad is None  # of the other category
    assert trained.network.leave.weight.grad.abs().sum() > 0


def test_each_keypoint_of_a_batch_weighs_the_same():
    """As published for MARCO: the sum over all keypoints of all pairs, divided by their number."""
    torch.manual_seed(1)
    loss = dataclasses.replace(
        CONTEXT.loss, sparse=0.0, prototypes=0.0, landmarks=0.0, noise=0.0, keypoint_fraction=1.0,
        point="distance",
    )  # fmt: skip
    config = dataclasses.replace(CONTEXT, loss=loss, channel_dropout=0.0)
    network = AttentionHead(12, 16, components=8)
    network.eval()
    features, cells = torch.randn(3, 6, 6, 8), torch.rand(3, 5, 2) * 5
    cells[1, :4] = torch.nan  # one keypoint in common with each of the others
    lengths, weights = torch.full((3,), 4.0), 1 - torch.eye(3)

    def dense(chosen: list[int], per_keypoint: bool) -> torch.Tensor:
        changed = dataclasses.replace(loss, per_keypoint=per_keypoint)
        module = Objective(network, dataclasses.replace(config, loss=changed), {"b": 5})
        pair = weights[chosen][:, chosen]
        found = module("b", features[chosen], cells[chosen], lengths[chosen], pair, pair)
        return found["dense"]

    # Of a pair alone, both directions have the weight 1, and the mean over their keypoints.
    means = {pair: dense(list(pair), False) for pair in ((0, 1), (0, 2), (1, 2))}
    counts = {(0, 1): 1, (0, 2): 5, (1, 2): 1}
    expected = sum(means[pair] * counts[pair] for pair in means) / (2 * sum(counts.values()))
    torch.testing.assert_close(dense([0, 1, 2], True), expected)
