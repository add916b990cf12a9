"""Schedules of the blur of targets and of the teacher's momentum."""

import itertools

import pytest
from helpers import marco_parity

from homolog.training.schedules import MomentumSchedule, SigmaSchedule


@marco_parity.needs_figures
def test_published_schedules():
    facts = marco_parity.facts()
    sigma, momentum = SigmaSchedule(), MomentumSchedule(until=900)  # 90 % of 1000 steps
    for step, expected in facts["sigma_by_step"].items():
        assert sigma(int(step)) == pytest.approx(expected, rel=1e-12)
    for step, expected in facts["ema_momentum_of_1000_steps"].items():
        assert momentum(int(step)) == pytest.approx(expected, rel=1e-12)


def test_schedules_go_one_way_between_their_ends():
    sigma = [SigmaSchedule(4.0, 1.0, hold=10, until=50)(step) for step in range(80)]
    assert sigma[:10] == [4.0] * 10 and sigma[49:] == [1.0] * 31
    assert all(a >= b for a, b in itertools.pairwise(sigma))
    momentum = [MomentumSchedule(0.9, 1.0, until=50)(step) for step in range(80)]
    assert momentum[0] == pytest.approx(0.9) and momentum[50:] == [1.0] * 30
    assert all(a <= b for a, b in itertools.pairwise(momentum))


def test_schedules_of_no_length_are_at_their_ends():
    assert SigmaSchedule(hold=0, until=0)(0) == 1.0
    assert MomentumSchedule(until=0)(0) == 0.9995
