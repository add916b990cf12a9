"""Distractors: made-up objects of no known kind, which a network is to learn as background.

Vessels, vehicles, furniture, plants, birds, insects: large and solid, with the same materials and
light as the models. Some have a left and a right, but their parts are not where a model has them.
They stand on y = 0, y up; their longest extent is 2 and their middle is above the origin.
"""

from homolog.synth.distractors.catalogue import KINDS, random_shape
from homolog.synth.distractors.shape import Shape

__all__ = ["KINDS", "Shape", "random_shape"]
