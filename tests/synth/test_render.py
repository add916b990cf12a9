"""Rendered images and their ground truth, against brute force; left stays left."""

import numpy as np
import pytest
from helpers.toy_scenes import SIZE, scene_from_behind, trace_by_brute_force

from homolog.synth.annotations import annotate_keypoints, make_annotation
from homolog.synth.appearance.light import Light
from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.camera import Camera
from homolog.synth.contact_sheet import colourise_sides
from homolog.synth.distractors import random_shape
from homolog.synth.instances import Distractor
from homolog.synth.render import Renderer
from homolog.synth.scene import Scene, random_scene


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_against_brute_force(rigs, seed, empty):
    rng = np.random.default_rng(seed)
    scene = random_scene(rigs.all, rng, SIZE, without_instances=empty)
    renderer = Renderer(scene, SIZE, rng)
    found = renderer.render()
    y, x = np.divmod(np.arange(SIZE * SIZE), SIZE)
    directions = scene.camera.rays(np.stack([x, y], 1) + 0.5)
    which, weights, _ = trace_by_brute_force(
        renderer.mesh.vertices, renderer.mesh.triangles, scene.camera.position, directions
    )
    owner = np.where(which >= 0, renderer.mesh.instance[which], -1)
    same = owner + 1 == found.instance.ravel()
    assert same.mean() > 0.995  # rays along edges may go either way
    inside = same & (owner >= 0)
    assert inside.any() != empty == (not scene.instances)
    subject = (
        scene.distractors[0].shape.triangles if empty else scene.instances[0].rig.model.triangles
    )
    covered = ((which >= 0) & (which < len(subject))).mean()  # its triangles come first
    assert found.subject_fraction == pytest.approx(covered, abs=0.005) and covered > 0
    if empty:
        assert np.isnan(found.coordinates).all() and not found.instance.any()
        assert np.isfinite(found.image).all() and found.image.min() >= 0
        return
    corners = renderer.mesh.coordinates[renderer.mesh.triangles[which[inside]]]
    expected = (corners * weights[inside][..., None]).sum(1)
    apart = np.abs(found.coordinates.reshape(-1, 3)[inside] - expected).max(1)
    assert (apart < 1e-3).mean() > 0.99
    assert np.isnan(found.coordinates[found.instance == 0]).all()
    assert np.isfinite(found.coordinates[found.instance > 0]).all()
    assert np.isfinite(found.image).all() and found.image.min() >= 0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_left_sides_seen_from_behind_are_at_the_left_of_the_image(rigs, which):
    rig = rigs.all[which]
    scene = scene_from_behind(rig)
    rng = np.random.default_rng(0)
    renderer = Renderer(scene, SIZE, rng)
    found = renderer.render()
    columns = np.broadcast_to(np.arange(SIZE), (SIZE, SIZE))
    left, right = found.coordinates[..., 0] > 0.02, found.coordinates[..., 0] < -0.02
    assert left.sum() > 20 and right.sum() > 20
    assert columns[left].max() <= SIZE / 2 <= columns[right].min() + 1
    known = make_annotation(0, scene, renderer, found.instance, rigs.names)
    np.testing.assert_allclose(known["facing"], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(known["up"], [0, -1, 0], atol=1e-6)
    if rig.landmarks:
        points = dict(zip(rigs.names, np.array(known["keypoints"]).reshape(-1, 3), strict=True))
        assert points["left_ear_tip"][0] < points["right_ear_tip"][0]
        assert points["left_ear_tip"][2] == 2 and points["nose"][2] == 1
        assert points["left_back_lower_leg"][2] == 2 and points["left_front_lower_leg"][2] == 1
    coloured = colourise_sides(found.coordinates)
    assert (coloured[left][:, 2] > coloured[left][:, 0]).all()  # blue is left


def test_distractors_occlude_instances(rigs):
    scene = scene_from_behind(rigs.all[0])
    rng = np.random.default_rng(0)
    whole = Renderer(scene, SIZE, rng).render()
    shape = random_shape(np.random.default_rng(0), "blob")
    material = ProceduralMaterial(rng, shape.materials, shape.area_fractions, animal=False)
    # Half as far from the camera as the instance, it hides its left half.
    scene.distractors = [
        Distractor(shape, shape.vertices * 0.5 + [0.5, 0, -3], shape.vertices, material)
    ]
    found = Renderer(scene, SIZE, rng).render()
    hidden = (whole.instance == 1) & (found.instance == 0)
    assert hidden.sum() > 20 and (found.instance <= whole.instance).all()
    assert np.isnan(found.coordinates[hidden]).all()
    same = found.instance == 1
    np.testing.assert_array_equal(found.coordinates[same], whole.coordinates[same])
    flat = annotate_keypoints(0, scene, Renderer(scene, SIZE, rng), rigs.names)
    points = np.array(flat).reshape(-1, 3)
    inside = [v for x, y, v in points if v and hidden[int(y), int(x)]]
    assert inside and set(inside) == {1}


def test_mirrors_reflect_the_surroundings():
    rng = np.random.default_rng(0)
    shape = random_shape(rng, "vessel")
    material = ProceduralMaterial(rng, shape.materials, shape.area_fractions, animal=False)
    material.reflectivity[:], material.metallic[:], material.transparency[:] = 0.9, False, 0
    material.gloss, material.bump_strength = 0.0, 0.0
    light = Light(np.array([0, 1.0, 0]), np.zeros(3), np.ones(3), np.ones(3), 0.0)
    camera = Camera(np.array([0, 1.0, -5]), np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
                    1.5 * SIZE, np.full(2, SIZE / 2))  # fmt: skip
    means = []
    for around in ((1.0, 0, 0), (0, 0, 1.0)):
        backdrop = np.full((SIZE, SIZE, 3), around, np.float32)
        distractor = Distractor(shape, shape.vertices, shape.vertices, material)
        scene = Scene([], [], camera, light, backdrop, None, distractors=[distractor])
        renderer = Renderer(scene, SIZE, np.random.default_rng(1))
        rendered = renderer.render()
        rays = camera.rays(np.array([[SIZE / 2, SIZE / 2]])).astype(np.float32)
        assert rendered.subject_fraction > 0.02
        assert renderer.tracer.first_hits(camera.position[None], rays).triangle >= 0
        means.append(rendered.image[SIZE // 2, SIZE // 2])
    assert means[0][0] > 1.5 * means[1][0] and means[1][2] > 1.5 * means[0][2]


def test_shadows_fall_away_from_the_light(rigs):
    scene = scene_from_behind(rigs.all[0], height=3)
    scene.camera = Camera(
        np.array([0, 4.0, 0]), np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), SIZE / 2,
        np.full(2, SIZE / 2),
    )  # fmt: skip
    scene.ground, scene.fog_distance = np.full((8, 8, 3), 0.8, np.float32), 1e6
    direction = np.array([1, 1, 0]) / np.sqrt(2)
    scene.light = Light(direction, np.ones(3), np.full(3, 0.1), np.full(3, 0.1), 0.0)
    found = Renderer(scene, SIZE, np.random.default_rng(0)).render()
    dark = (found.instance == 0) & (found.image.mean(2) < 0.4 * np.median(found.image.mean(2)))
    columns = np.nonzero(dark)[1]
    assert len(columns) > 10
    assert (columns < SIZE / 2).mean() > 0.9  # light comes from +x, which is to the right
