"""Recipes are the published settings."""

from homolog.training import marco, published_spair
from homolog.training.recipes import RECIPES, PoseVariants
from homolog.training.schedules import MomentumSchedule, SigmaSchedule


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
        "marco": 8,
    }
    assert all(make().recipe == name for name, make in RECIPES.items())


def test_the_schedules_of_marco_are_those_published_for_spair():
    """There are 53,340 pairs, eight epochs, and 12 pairs a step; the teacher warms up for five."""
    config, steps = marco(), 8 * 53_340 // 12
    assert config.loss.annealing.schedule(steps) == SigmaSchedule(3.5, 1.0, 1000, 12_000)
    assert config.distillation.momentum(steps) == MomentumSchedule(
        0.99, 0.9995, int(0.9 * 5 * 53_340 // 12)
    )
    assert round(770 * config.canvas_scale) == 630
    # A shorter run has shorter schedules.
    assert config.loss.annealing.schedule(356) == SigmaSchedule(3.5, 1.0, 10, 120)
