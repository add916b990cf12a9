"""Recipes are the published settings."""

from homolog.training import published_spair
from homolog.training.recipes import RECIPES, PoseVariants


def test_recipes_are_the_published_settings():
    config = published_spair()
    assert (config.learning_rate, config.weight_decay, config.warmup) == (1.25e-3, 1e-3, 0.3)
    assert (config.epochs, config.element_dropout, config.window) == (2, 0.2, 7)
    assert config.loss.noise == 0.1 and config.loss.window is None
    assert config.variants == PoseVariants(1.0, 0.0, 0.25)
    assert {name: make().epochs for name, make in RECIPES.items()} == {
        "small-set": None,
        "published-spair": 2,
        "published-ap10k": 1,
        "published-pf-pascal": 100,
    }
    assert all(make().recipe == name for name, make in RECIPES.items())
