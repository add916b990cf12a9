"""Import paths and names of version 0.1.0 lead to today's, with a warning."""

import importlib
import sys

import pytest

import homolog
from homolog import moved


@pytest.mark.parametrize("name", sorted(moved.MODULES))
def test_old_modules_are_imported(name):
    sys.modules.pop(name, None)
    with pytest.warns(DeprecationWarning, match=f"^{name} is homolog"):
        module = importlib.import_module(name)
    with pytest.raises(AttributeError, match="nonesuch"):
        module.nonesuch  # noqa: B018


@pytest.mark.parametrize(
    ("module", "old"), [(module, old) for module, names in moved.RENAMED.items() for old in names]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_renamed_names_are_found(module, old):
    found = getattr(importlib.import_module(module), old)
    today = moved.RENAMED[module][old]
    places = moved.MODULES.get(module) or moved.NAMES[module]
    assert any(vars(importlib.import_module(place)).get(today) is found for place in places)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_names_are_todays():
    from homolog.losses import dense_loss
    from homolog.pose import instance_matching_distance

    from homolog.features import Backbone

    assert dense_loss is importlib.import_module("homolog.training.losses").dense_loss
    assert instance_matching_distance is homolog.matching.instance_matching_distance
    assert Backbone is homolog.backbones.Backbone
    assert homolog.PoseVariant is homolog.PoseVariant
    assert homolog.images.read is importlib.import_module("homolog.image.reading").load_image


def test_names_that_stay_do_not_warn():
    assert callable(homolog.matching.window_soft_argmax)
    assert callable(homolog.metrics.pck_per_image)
    assert callable(homolog.evaluation.score)
    assert callable(homolog.presets.embedded)
    assert callable(importlib.import_module("homolog.training.losses").contrastive_loss)
    with pytest.raises(AttributeError, match="nonesuch"):
        homolog.nonesuch  # noqa: B018
