"""Normals and refinement of meshes."""

import numpy as np
from helpers.toy_models import static_object

from homolog.synth.gltf import read_model
from homolog.synth.mesh import angle_weighted_normals


def test_normals_point_outwards(tmp_path):
    model = read_model(static_object(tmp_path / "box.glb", [((-1, -1, -1), (1, 1, 1))]))
    found = angle_weighted_normals(model.positions, model.triangles, model.weld_ids)
    assert ((found * model.positions).sum(1) > 0).all()
    # Boxes stay boxes however fine they are made.
    np.testing.assert_allclose(np.abs(model.positions).max(1), 1, atol=1e-6)
