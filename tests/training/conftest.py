"""The toy backbone, under the name by which saved models ask for it."""

import pytest
from helpers.toy_training import register

from homolog.backbones import registry


@pytest.fixture(autouse=True)
def toy_backbone(monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", dict(registry.FAMILIES))
    register()
