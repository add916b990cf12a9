"""Symmetry planes of models without a skeleton."""

import numpy as np
import pytest
from helpers.toy_models import CHAIR, static_object
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from homolog.synth import load_models
from homolog.synth.canonical import build_rigs
from homolog.synth.gltf import read_model
from homolog.synth.symmetry import symmetry_transform


@pytest.mark.parametrize("angle", [0, 20, -35])
def test_the_symmetry_plane_of_a_chair(tmp_path, angle):
    quaternion_ = Rotation.from_euler("y", angle, degrees=True).as_quat().tolist()
    model = read_model(
        static_object(tmp_path / "chair.glb", CHAIR, rotation=quaternion_, translation=[3, 0, 1])
    )
    (rig,), skipped, _ = build_rigs([model])
    assert not skipped
    expected = Rotation.from_euler("y", -angle, degrees=True).as_matrix()
    np.testing.assert_allclose(rig.from_model[:3, :3], expected, atol=0.03)
    assert np.abs(rig.canonical).max() == pytest.approx(1, abs=0.02)
    back = rig.canonical[rig.canonical[:, 2] > 0.5]
    assert (back[:, 1] < -0.7).all()  # it faces forward


def test_objects_whose_symmetry_tells_no_sides(tmp_path):
    objects = {
        "plate": [((0, 0, 0), (3, 0.1, 1)), ((0, 0, 0), (1, 0.1, 2)), ((2.6, 0, 1), (3, 0.1, 1.5))],
        "across": [((-2, 0, -0.5), (2, 0.3, 0.5)), ((1, 0.3, -0.5), (2, 2, 0.5))],
        "heap": [
            ((0, 0, 0), (3, 0.3, 1)), ((2, 0.3, 0.4), (3, 2, 2)), ((-1, 0.3, 0), (0.5, 1, 0.3)),
        ],
    }  # fmt: skip
    for name, boxes in objects.items():
        static_object(tmp_path / f"{name}.glb", boxes)
    models, _ = load_models(tmp_path)
    rigs, skipped, _ = build_rigs(models)
    assert not rigs
    assert "horizontal symmetry plane" in skipped["plate"]
    assert "across its length" in skipped["across"]
    assert "nor a symmetry plane" in skipped["heap"]


def test_no_other_plane_is_better(tmp_path):
    """No upright plane through the middle is better than the one found."""
    model = read_model(static_object(tmp_path / "chair.glb", CHAIR))
    points = model.positions
    nearest = KDTree(points)
    transform = symmetry_transform(points, model.triangles)
    own = points @ transform[:3, :3].T + transform[:3, 3]

    def gap(normal, offset):
        mirrored = points - 2 * np.outer(points @ normal - offset, normal)
        return nearest.query(mirrored[::7])[0].mean()

    found = gap(transform[0, :3], -transform[0, 3])
    assert np.abs(own[:, 0]).max() == pytest.approx(0.5, abs=0.02)
    middle = points.mean(0)
    for angle in np.linspace(10, 170, 9):
        normal = np.array([np.cos(np.deg2rad(angle)), 0, np.sin(np.deg2rad(angle))])
        assert gap(normal, middle @ normal) >= found - 1e-9
