"""Random scenes: what they contain, and where it stands."""

import numpy as np
import pytest
from helpers.toy_scenes import SIZE

from homolog.synth.scene import random_scene


@pytest.fixture(scope="module")
def scenes(rigs):
    """Scenes of the seeds 0 to 399, drawn once for all tests that look at many."""
    return [random_scene(rigs.all, np.random.default_rng(seed), SIZE) for seed in range(400)]


def extent(scene, vertices):
    """The longer extent in the image, as a fraction of its size."""
    return np.ptp(scene.camera.project(vertices)[0], axis=0).max() / SIZE


@pytest.mark.parametrize("empty", [False, True])
def test_most_subjects_fill_the_image(rigs, scenes, empty):
    if empty:
        scenes = [
            random_scene(rigs.all, np.random.default_rng(seed), SIZE, without_instances=True)
            for seed in range(150)
        ]
    subjects = [scene.distractors[0] if empty else scene.instances[0] for scene in scenes]
    found = np.array(
        [extent(scene, subject.vertices) for scene, subject in zip(scenes, subjects, strict=True)]
    )
    assert ((found > 0.48) & (found < 1.22)).mean() > 0.82
    assert ((found > 0.58) & (found < 1.02)).mean() > 0.65
    assert 0.03 < (found < 0.48).mean() < 0.17


def test_distractors_stand_among_instances(scenes):
    behind, among = 0, 0
    for scene in scenes:
        for distractor in scene.distractors:
            among += 1
            assert distractor.vertices[:, 1].min() == pytest.approx(0, abs=1e-9)
            _, depth = scene.camera.project(distractor.vertices)
            assert (depth > 0).all()
            middles = [scene.camera.project(v.mean(0)[None])[1][0]
                       for v in (distractor.vertices, scene.instances[0].vertices)]  # fmt: skip
            behind += middles[0] > middles[1]
    assert 0.09 < among / len(scenes) < 0.21
    assert 0.15 < behind / among < 0.85


def test_instances_do_not_intersect(scenes):
    inside = []
    for scene in scenes[:60]:
        for i, a in enumerate(scene.instances):
            for b in scene.instances[i + 1 :]:
                some = b.vertices[::97].astype(float)
                corners = a.vertices[a.rig.model.triangles]
                # Even-odd: a point is inside if a ray leaves through an odd number of triangles.
                flat = corners[:, :, [0, 2]]
                e, f = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
                det = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
                with np.errstate(divide="ignore", invalid="ignore"):
                    for point in some:
                        d = point[[0, 2]] - flat[:, 0]
                        u = (d[:, 0] * f[:, 1] - d[:, 1] * f[:, 0]) / det
                        v = (e[:, 0] * d[:, 1] - e[:, 1] * d[:, 0]) / det
                        up = corners[:, 0, 1] * (1 - u - v) + corners[:, 1, 1] * u
                        up = up + corners[:, 2, 1] * v
                        through = (u > 0) & (v > 0) & (u + v < 1) & (up > point[1])
                        inside.append(through.sum() % 2)
    assert len(inside) > 500
    assert np.mean(inside) < 0.03
