"""Embree as a tracer of rays."""

import numpy as np
import pytest

from homolog import HomologError
from homolog.synth.tracer import Tracer


def test_embree_that_does_not_start(monkeypatch):
    def broken():
        raise RuntimeError("no such device")

    monkeypatch.setattr("homolog.synth.tracer.load_embree", lambda: (broken, None))
    with pytest.raises(
        HomologError, match="embreex: expected the renderer to start, got no such device"
    ):
        Tracer(np.eye(3), np.array([[0, 1, 2]]))
