"""What is seen where, against brute force; and that left is left."""

import numpy as np
import pytest
from helpers.toy_models import CHAIR, beast, still
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from homolog import HomologError
from homolog.synth import appearance
from homolog.synth.canonical import prepare
from homolog.synth.dataset import described, keypoints, rle, sides
from homolog.synth.distractors import random_shape
from homolog.synth.gltf import read
from homolog.synth.posing import random_pose
from homolog.synth.render import Renderer, Tracer
from homolog.synth.rig import Pose
from homolog.synth.scene import Camera, Item, Scene, random_scene, stood, turned

SIZE = 40


class Rigs:
    def __init__(self, found, names):
        self.all, self.names = found, names


@pytest.fixture(scope="module")
def rigs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    paths = [
        beast(folder / "a.glb"),
        beast(folder / "b.glb", stretch=(1.4, 0.8, 1)),
        still(folder / "chair.glb", CHAIR),
    ]
    found, left_out, names = prepare([read(path) for path in paths])
    assert not left_out
    return Rigs(found, list(names))


@pytest.fixture(scope="module")
def scenes(rigs):
    """Drawn from the seeds 0 to 399, once for all tests that look at many."""
    return [random_scene(rigs.all, np.random.default_rng(seed), SIZE) for seed in range(400)]


def first_by_force(vertices, triangles, origin, directions):
    """Möller and Trumbore's test of every ray with every triangle, in double precision."""
    a, b, c = (vertices[triangles[:, k]].astype(float) for k in range(3))
    ab, ac, start = b - a, c - a, origin - a
    best = np.full(len(directions), np.inf)
    which = np.full(len(directions), -1)
    weights = np.zeros((len(directions), 3))
    q = np.cross(start, ab)
    for i, ray in enumerate(directions.astype(float)):
        p = np.cross(ray, ac)
        det = (ab * p).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = (start * p).sum(1) / det, (q @ ray) / det
            t = (q * ac).sum(1) / det
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & np.isfinite(t)
        if hit.any():
            k = np.flatnonzero(hit)[np.argmin(t[hit])]
            best[i], which[i], weights[i] = t[k], k, (1 - u[k] - v[k], u[k], v[k])
    return which, weights, best


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_against_brute_force(rigs, seed, empty):
    rng = np.random.default_rng(seed)
    scene = random_scene(rigs.all, rng, SIZE, empty=empty)
    renderer = Renderer(scene, SIZE, rng)
    found = renderer.render()
    y, x = np.divmod(np.arange(SIZE * SIZE), SIZE)
    directions = scene.camera.rays(np.stack([x, y], 1) + 0.5)
    which, weights, _ = first_by_force(
        renderer.vertices, renderer.triangles, scene.camera.place, directions
    )
    owner = np.where(which >= 0, renderer.owner[which], -1)
    same = owner + 1 == found.instance.ravel()
    assert same.mean() > 0.995  # rays along edges may go either way
    thing = same & (owner >= 0)
    assert thing.any() != empty == (not scene.things)
    main = scene.objects[0].shape.triangles if empty else scene.things[0].rig.model.triangles
    covered = ((which >= 0) & (which < len(main))).mean()  # they come first
    assert found.subject == pytest.approx(covered, abs=0.005) and covered > 0
    if empty:
        assert np.isnan(found.coordinates).all() and not found.instance.any()
        assert np.isfinite(found.image).all() and found.image.min() >= 0
        return
    corners = renderer.canonical[renderer.triangles[which[thing]]]
    expected = (corners * weights[thing][..., None]).sum(1)
    apart = np.abs(found.coordinates.reshape(-1, 3)[thing] - expected).max(1)
    assert (apart < 1e-3).mean() > 0.99
    assert np.isnan(found.coordinates[found.instance == 0]).all()
    assert np.isfinite(found.coordinates[found.instance > 0]).all()
    assert np.isfinite(found.image).all() and found.image.min() >= 0


@pytest.mark.parametrize("seed", range(6))
def test_keypoints_against_brute_force(rigs, seed):
    rng = np.random.default_rng(100 + seed)
    scene = random_scene(rigs.all[:2], rng, SIZE)
    renderer = Renderer(scene, SIZE, rng)
    for k, thing in enumerate(scene.things):
        flat = keypoints(k, thing, scene, renderer, SIZE, rigs.names)
        points = np.array(flat).reshape(-1, 3)
        for (x, y, v), name in zip(points, rigs.names, strict=True):
            if name not in thing.keypoints:
                assert v == 0
                continue
            place = thing.keypoints[name]
            local = scene.camera.turn @ (place - scene.camera.place)
            pixel = local[:2] / local[2] * scene.camera.focal + scene.camera.centre
            inside = local[2] > 0 and (pixel >= 0).all() and (pixel < SIZE).all()
            assert (v > 0) == inside
            if not inside:
                continue
            np.testing.assert_allclose((x, y), pixel, atol=0.006)
            which, _, distance = first_by_force(
                renderer.vertices,
                renderer.triangles,
                scene.camera.place,
                (place - scene.camera.place)[None],
            )
            if which[0] >= 0 and renderer.owner[which[0]] != k and distance[0] < 0.99:
                assert v == 1  # something else is in front of it
            if distance[0] > 0.999:
                assert v == 2  # nothing is


def behind(rig, height=0.3):
    """A scene seen from behind: the thing faces away from the camera."""
    thing = stood(
        rig, Pose(), "bind", appearance.Coat(np.random.default_rng(0), rig.model.materials, [1])
    )
    camera = Camera(
        np.array([0, height, -6.0]), np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
        2 * SIZE, np.array([SIZE / 2, SIZE / 2 + 8]),
    )  # fmt: skip
    light = appearance.random_light(np.random.default_rng(0))
    return Scene([thing], [], camera, light, np.full((SIZE, SIZE, 3), 0.5, np.float32), None)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_from_behind_a_things_left_is_at_the_pictures_left(rigs, which):
    rig = rigs.all[which]
    scene = behind(rig)
    rng = np.random.default_rng(0)
    renderer = Renderer(scene, SIZE, rng)
    found = renderer.render()
    columns = np.broadcast_to(np.arange(SIZE), (SIZE, SIZE))
    left, right = found.coordinates[..., 0] > 0.02, found.coordinates[..., 0] < -0.02
    assert left.sum() > 20 and right.sum() > 20
    assert columns[left].max() <= SIZE / 2 <= columns[right].min() + 1
    known = described(0, scene.things[0], scene, renderer, found.instance, rigs.names)
    np.testing.assert_allclose(known["facing"], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(known["up"], [0, -1, 0], atol=1e-6)
    if rig.landmarks:
        points = dict(zip(rigs.names, np.array(known["keypoints"]).reshape(-1, 3), strict=True))
        assert points["left_ear_tip"][0] < points["right_ear_tip"][0]
        assert points["left_ear_tip"][2] == 2 and points["nose"][2] == 1
        assert points["left_back_lower_leg"][2] == 2 and points["left_front_lower_leg"][2] == 1
    coloured = sides(found.coordinates)
    assert (coloured[left][:, 2] > coloured[left][:, 0]).all()  # blue is left


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_nothing_is_ever_mirrored(rigs, seed):
    rng = np.random.default_rng(seed)
    rig = rigs.all[0]
    pose, kind = random_pose(rig, rng)
    coat = appearance.Coat(rng, rig.model.materials, [1])
    thing = turned(stood(rig, pose, kind, coat), rng.uniform(0, 360), rng.normal(size=3))
    np.testing.assert_allclose(np.linalg.det(thing.facing), 1)
    # Its left, up and front in that order are right-handed, as seen on its own skeleton.
    across = thing.keypoints["left_back_upper_leg"] - thing.keypoints["right_back_upper_leg"]
    along = thing.keypoints["neck"] - thing.keypoints["torso"]
    up = (
        thing.keypoints["torso"]
        - (thing.keypoints["left_back_lower_leg_tip"] + thing.keypoints["right_back_lower_leg_tip"])
        / 2
    )
    assert np.linalg.det(np.stack([across, up, along], 1)) > 0
    assert across @ thing.facing[:, 0] > 0 and along @ thing.facing[:, 2] > 0


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_cameras_turn_and_see_what_they_should(rigs, seed):
    rng = np.random.default_rng(seed)
    scene = random_scene(rigs.all[:1], rng, 100)
    camera = scene.camera
    np.testing.assert_allclose(camera.turn @ camera.turn.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(camera.turn), 1)
    pixels = rng.uniform(0, 100, (5, 2))
    there = camera.place + camera.rays(pixels) * rng.uniform(0.5, 9, (5, 1))
    np.testing.assert_allclose(camera.project(there)[0], pixels, atol=1e-6)
    places, depth = camera.project(scene.things[0].vertices)
    assert (depth > 0).all()
    extent = np.ptp(places, axis=0).max() / 100
    assert 0.25 < extent < 1.6
    assert scene.things[0].vertices[:, 1].min() == pytest.approx(0, abs=1e-9)


def extent(scene, vertices):
    return np.ptp(scene.camera.project(vertices)[0], axis=0).max() / SIZE


@pytest.mark.parametrize("empty", [False, True])
def test_most_subjects_fill_the_picture(rigs, scenes, empty):
    if empty:
        scenes = [
            random_scene(rigs.all, np.random.default_rng(seed), SIZE, empty=True)
            for seed in range(150)
        ]
    mains = [scene.objects[0] if empty else scene.things[0] for scene in scenes]
    found = np.array(
        [extent(scene, main.vertices) for scene, main in zip(scenes, mains, strict=True)]
    )
    assert ((found > 0.48) & (found < 1.22)).mean() > 0.82
    assert ((found > 0.58) & (found < 1.02)).mean() > 0.65
    assert 0.03 < (found < 0.48).mean() < 0.17


def test_objects_stand_among_things(scenes):
    behind, among = 0, 0
    for scene in scenes:
        for item in scene.objects:
            among += 1
            assert item.vertices[:, 1].min() == pytest.approx(0, abs=1e-9)
            _, depth = scene.camera.project(item.vertices)
            assert (depth > 0).all()
            middles = [scene.camera.project(v.mean(0)[None])[1][0]
                       for v in (item.vertices, scene.things[0].vertices)]  # fmt: skip
            behind += middles[0] > middles[1]
    assert 0.09 < among / len(scenes) < 0.21
    assert 0.15 < behind / among < 0.85


def test_objects_lie_over_things_and_throw_shadows(rigs):
    scene = behind(rigs.all[0])
    rng = np.random.default_rng(0)
    whole = Renderer(scene, SIZE, rng).render()
    shape = random_shape(np.random.default_rng(0), "blob")
    coat = appearance.Coat(rng, shape.materials, shape.areas, animal=False)
    # Half as far from the camera as the thing, its left half hidden.
    scene.objects = [Item(shape, shape.vertices * 0.5 + [0.5, 0, -3], shape.vertices, coat)]
    found = Renderer(scene, SIZE, rng).render()
    hidden = (whole.instance == 1) & (found.instance == 0)
    assert hidden.sum() > 20 and (found.instance <= whole.instance).all()
    assert np.isnan(found.coordinates[hidden]).all()
    same = found.instance == 1
    np.testing.assert_array_equal(found.coordinates[same], whole.coordinates[same])
    points = np.array(keypoints(0, scene.things[0], scene, Renderer(scene, SIZE, rng), SIZE,
                                rigs.names)).reshape(-1, 3)  # fmt: skip
    inside = [v for x, y, v in points if v and hidden[int(y), int(x)]]
    assert inside and set(inside) == {1}


def test_mirrors_show_what_is_around():
    rng = np.random.default_rng(0)
    shape = random_shape(rng, "vessel")
    coat = appearance.Coat(rng, shape.materials, shape.areas, animal=False)
    coat.mirror[:], coat.metal[:], coat.clear[:] = 0.9, False, 0
    coat.gloss, coat.bumps = 0.0, 0.0
    light = appearance.Light(np.array([0, 1.0, 0]), np.zeros(3), np.ones(3), np.ones(3), 0.0)
    camera = Camera(np.array([0, 1.0, -5]), np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]),
                    1.5 * SIZE, np.full(2, SIZE / 2))  # fmt: skip
    means = []
    for around in ((1.0, 0, 0), (0, 0, 1.0)):
        backdrop = np.full((SIZE, SIZE, 3), around, np.float32)
        item = Item(shape, shape.vertices, shape.vertices, coat)
        scene = Scene([], [], camera, light, backdrop, None, objects=[item])
        renderer = Renderer(scene, SIZE, np.random.default_rng(1))
        who = renderer.render()
        rays = camera.rays(np.array([[SIZE / 2, SIZE / 2]])).astype(np.float32)
        assert who.subject > 0.02 and renderer.tracer.first(camera.place[None], rays).triangle >= 0
        means.append(who.image[SIZE // 2, SIZE // 2])
    assert means[0][0] > 1.5 * means[1][0] and means[1][2] > 1.5 * means[0][2]


def test_things_do_not_run_into_each_other(scenes):
    inside = []
    for scene in scenes[:60]:
        for i, a in enumerate(scene.things):
            for b in scene.things[i + 1 :]:
                some = b.vertices[::97].astype(float)
                corners = a.vertices[a.rig.model.triangles]
                # Even-odd: a place is inside if a ray leaves through an odd number of triangles.
                flat = corners[:, :, [0, 2]]
                e, f = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
                det = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
                with np.errstate(divide="ignore", invalid="ignore"):
                    for place in some:
                        d = place[[0, 2]] - flat[:, 0]
                        u = (d[:, 0] * f[:, 1] - d[:, 1] * f[:, 0]) / det
                        v = (e[:, 0] * d[:, 1] - e[:, 1] * d[:, 0]) / det
                        up = corners[:, 0, 1] * (1 - u - v) + corners[:, 1, 1] * u
                        up = up + corners[:, 2, 1] * v
                        through = (u > 0) & (v > 0) & (u + v < 1) & (up > place[1])
                        inside.append(through.sum() % 2)
    assert len(inside) > 500
    assert np.mean(inside) < 0.03


def test_shadows_fall_away_from_the_light(rigs):
    scene = behind(rigs.all[0], height=3)
    scene.camera = Camera(
        np.array([0, 4.0, 0]), np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), SIZE / 2,
        np.full(2, SIZE / 2),
    )  # fmt: skip
    scene.ground, scene.fog = np.full((8, 8, 3), 0.8, np.float32), 1e6
    direction = np.array([1, 1, 0]) / np.sqrt(2)
    scene.light = appearance.Light(direction, np.ones(3), np.full(3, 0.1), np.full(3, 0.1), 0.0)
    found = Renderer(scene, SIZE, np.random.default_rng(0)).render()
    dark = (found.instance == 0) & (found.image.mean(2) < 0.4 * np.median(found.image.mean(2)))
    columns = np.nonzero(dark)[1]
    assert len(columns) > 10
    assert (columns < SIZE / 2).mean() > 0.9  # light comes from +x, which is to the right


@given(
    arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))),
)
def test_masks_as_run_lengths(mask):
    found = rle(mask)
    assert found["size"] == list(mask.shape)
    # Decoded as pycocotools does it.
    counts, p, text = [], 0, found["counts"].encode()
    while p < len(text):
        value, k, more = 0, 0, True
        while more:
            c = text[p] - 48
            value |= (c & 0x1F) << 5 * k
            more, p, k = bool(c & 0x20), p + 1, k + 1
            if not more and c & 0x10:
                value |= -1 << 5 * k
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    np.testing.assert_array_equal(flat.reshape(mask.shape, order="F"), mask)


def test_noise_has_no_seams_and_is_the_same_everywhere():
    noise = appearance.Noise(np.random.default_rng(1), 2.0)
    points = np.random.default_rng(2).uniform(-3, 3, (20_000, 3)).astype(np.float32)
    values = noise(points)
    assert abs(values.mean()) < 0.15 and 0.7 < values.std() < 1.3
    near = np.abs(noise(points + np.float32(0.01)) - values)
    assert near.mean() < 0.2 * np.abs(values - values[::-1]).mean()


def test_a_renderer_that_cannot_start(monkeypatch):
    def broken():
        raise RuntimeError("no such device")

    monkeypatch.setattr("homolog.synth.render.library", lambda: (broken, None))
    with pytest.raises(HomologError, match="the renderer cannot start: no such device"):
        Tracer(np.eye(3), np.array([[0, 1, 2]]))
