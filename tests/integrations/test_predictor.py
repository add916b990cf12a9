from __future__ import annotations

import numpy as np
import pytest

from homolog import HomologError
from homolog.integrations.predictor import Predictor


def test_an_image_in_memory_is_predicted_even_if_it_is_an_exemplar(predictor, animals):
    (found,) = predictor.predict(animals.images[0], "fox.png")
    assert (found.category, found.names) == ("animal", animals.names)
    seen = animals.visible & found.found
    errors = np.linalg.norm(found.points - animals.keypoints[0], axis=1)[seen]
    assert seen.sum() >= 0.8 * animals.visible.sum()
    assert np.median(errors) < 10  # pixels of 640
    assert not found.occluded.any() and found.scores.shape == found.found.shape
    assert found.score == pytest.approx(found.scores[found.found].mean(), abs=1e-3)


def test_another_animal_has_the_same_parts_as_an_array(predictor, animals):
    (found,) = predictor.predict(np.asarray(animals.images[1]))
    seen = animals.visible & found.found
    errors = np.linalg.norm(found.points - animals.keypoints[1], axis=1)[seen]
    assert np.median(errors) < 40


def test_what_cannot_be_used(animals, tmp_path):
    with pytest.raises(HomologError, match=r"^exemplars: expected an existing file"):
        Predictor(tmp_path / "missing.json")
    with pytest.raises(HomologError, match=r"^max_objects: expected at least 1, got 0"):
        Predictor(animals.few, max_objects=0)
