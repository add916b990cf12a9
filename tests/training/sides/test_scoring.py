"""The score of a side head."""

import numpy as np
import pytest

from homolog.training.sides import Score


def test_accuracy_and_its_interval():
    found = Score(np.array([2, 4, 0, 1]), np.array([2, 4, 0, 2]))
    assert (found.accuracy, found.num_keypoints) == (7 / 8, 8)
    low, high = found.interval
    assert low == pytest.approx(0.5)  # one draw in 16 is of the last two and of none
    assert high == 1
    assert Score(np.zeros(2, int), np.zeros(2, int)).accuracy == 0
