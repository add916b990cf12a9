"""glTF files, read into models."""

import io
import json

import numpy as np
import pygltflib as gl
import pytest
from helpers.toy_models import BOXES, CHAIR, box, rigged_animal, static_object
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homolog import HomologError
from homolog.synth import load_models
from homolog.synth.gltf import read_model
from homolog.synth.mesh import angle_weighted_normals
from homolog.synth.model import ModelError


def test_vertices_and_materials_of_a_file(tmp_path):
    model = read_model(rigged_animal(tmp_path / "beast.glb"))
    corners = np.concatenate([box(*ends)[0] for ends in BOXES.values()])
    np.testing.assert_allclose(model.positions[: len(corners)], corners, atol=1e-6)
    assert model.name == "beast" and model.skinned and list(model.animations) == ["Nod"]
    np.testing.assert_allclose(model.weights.sum(1), 1)
    assert len(model.triangles) >= 6000 and model.triangles.max() < len(model.positions)
    np.testing.assert_allclose(model.materials[0].colour, (0.5, 0.3, 0.2))


def test_a_mirrored_node_does_not_turn_a_model_inside_out(tmp_path):
    model = read_model(
        static_object(tmp_path / "box.glb", [((-1, -1, -1), (1, 1, 1))], scale=[-1, 1, 1])
    )
    found = angle_weighted_normals(model.positions, model.triangles, model.weld_ids)
    assert ((found * model.positions).sum(1) > 0).all()


def test_textures(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(buffer, "PNG")
    painted = read_model(rigged_animal(tmp_path / "painted.glb", texture=buffer.getvalue()))
    assert painted.uv is not None and painted.materials[0].texture[0, 0].tolist() == [10, 200, 30]
    # A broken one is done without.
    broken = read_model(rigged_animal(tmp_path / "broken.glb", texture=buffer.getvalue()[:20]))
    assert broken.materials[0].texture is None


def test_unusable_files_are_skipped_with_the_reason(tmp_path):
    whole = rigged_animal(tmp_path / "whole.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[:-2000])
    (tmp_path / "noise.glb").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "none.glb").write_bytes(b"")
    (tmp_path / "text.gltf").write_text("{")
    description = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}], "buffers": [{"uri": "gone.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }  # fmt: skip
    (tmp_path / "lacking.gltf").write_text(json.dumps(description))
    description["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    (tmp_path / "packed.gltf").write_text(json.dumps(description))
    flat = gl.GLTF2(scene=0, scenes=[gl.Scene(nodes=[0])], nodes=[gl.Node(name="empty")])
    flat.save(str(tmp_path / "empty.gltf"))
    models, skipped = load_models(tmp_path)
    assert [model.name for model in models] == ["whole"]
    assert set(skipped) == {
        "cut.glb", "noise.glb", "none.glb", "text.gltf", "lacking.gltf", "packed.gltf",
        "empty.gltf",
    }  # fmt: skip
    assert "gone.bin, which is missing" in skipped["lacking.gltf"]
    assert "KHR_draco_mesh_compression" in skipped["packed.gltf"]
    assert "no triangles" in skipped["empty.gltf"]
    assert all("\n" not in reason for reason in skipped.values())


@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_broken_byte_gives_a_model_or_a_model_error(tmp_path_factory, position, value):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzzed.glb"
    if not (folder / "fuzz.glb").exists():
        static_object(folder / "fuzz.glb", CHAIR)
    data = bytearray((folder / "fuzz.glb").read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        model = read_model(path)
    except ModelError:
        return
    assert np.isfinite(model.positions).all()


def test_folders(tmp_path):
    with pytest.raises(HomologError, match="models: expected a folder, got"):
        load_models(tmp_path / "nowhere")
    with pytest.raises(HomologError, match=r"models: expected .glb or .gltf files in .*, got none"):
        load_models(tmp_path)
    (tmp_path / "a.glb").write_bytes(b"glTF")
    with pytest.raises(
        HomologError, match=r"models: expected a model that can be used in .*, got a.glb"
    ):
        load_models(tmp_path)
    rigged_animal(tmp_path / "b.glb")
    with pytest.raises(HomologError, match=r"models: expected names of a, b in .*, got 'c'"):
        load_models(tmp_path, ["b", "c"])
    models, skipped = load_models(tmp_path, ["b"])
    assert [model.name for model in models] == ["b"] and not skipped
