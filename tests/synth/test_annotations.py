"""COCO annotations of rendered images, against brute force."""

import numpy as np
import pytest
from helpers.toy_scenes import SIZE, trace_by_brute_force
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from homolog.synth.annotations import annotate_keypoints, encode_rle
from homolog.synth.render import Renderer
from homolog.synth.scene import random_scene


@pytest.mark.parametrize("seed", range(6))
def test_keypoints_against_brute_force(rigs, seed):
    rng = np.random.default_rng(100 + seed)
    scene = random_scene(rigs.all[:2], rng, SIZE)
    renderer = Renderer(scene, SIZE, rng)
    for k, instance in enumerate(scene.instances):
        flat = annotate_keypoints(k, scene, renderer, rigs.names)
        points = np.array(flat).reshape(-1, 3)
        for (x, y, v), name in zip(points, rigs.names, strict=True):
            if name not in instance.keypoints:
                assert v == 0
                continue
            point = instance.keypoints[name]
            local = scene.camera.rotation @ (point - scene.camera.position)
            pixel = local[:2] / local[2] * scene.camera.focal + scene.camera.principal_point
            inside = local[2] > 0 and (pixel >= 0).all() and (pixel < SIZE).all()
            assert (v > 0) == inside
            if not inside:
                continue
            np.testing.assert_allclose((x, y), pixel, atol=0.006)
            which, _, distance = trace_by_brute_force(
                renderer.mesh.vertices,
                renderer.mesh.triangles,
                scene.camera.position,
                (point - scene.camera.position)[None],
            )
            if which[0] >= 0 and renderer.mesh.instance[which[0]] != k and distance[0] < 0.99:
                assert v == 1  # something else is in front of it
            if distance[0] > 0.999:
                assert v == 2  # nothing is


@given(
    arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))),
)
def test_run_lengths_decode_to_the_mask(mask):
    found = encode_rle(mask)
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
