"""All surfaces of a scene as one triangle mesh, with the attributes that shading needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.mesh import area_weighted_normals
from homolog.synth.scene import Scene
from homolog.synth.tracer import Hits
from homolog.synth.vectors import unit


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """The triangles of a scene's instances, distractors and props, in this order.

    Attributes:
        vertices: in the world.
        triangles: vertex indices.
        instance: of each triangle, the index of its model's instance; -1 for none.
        surface: of each triangle, an index into `materials`; -1 for props, which have colours.
        materials: of the instances, then of the distractors.
        has_texture: which of these materials may have textures.
        normals_and_coordinates: of the vertices, side by side, to interpolate both at once.
        coordinates: canonical ones of instances, material coordinates of distractors.
        colours: of the vertices, for props; linear RGB.
        uv: texture coordinates of the vertices.
        material_ids: of each triangle, within its object.
        face_normals: of the triangles.
    """

    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "M 3"]
    instance: Int[np.ndarray, "M"]
    surface: Int[np.ndarray, "M"]
    materials: list[ProceduralMaterial]
    has_texture: list[bool]
    normals_and_coordinates: Float[np.ndarray, "V 6"]
    coordinates: Float[np.ndarray, "V 3"]
    colours: Float[np.ndarray, "V 3"]
    uv: Float[np.ndarray, "V 2"]
    material_ids: Int[np.ndarray, "M"]
    face_normals: Float[np.ndarray, "M 3"]

    def interpolate(self, values: Float[np.ndarray, "V c"], hits: Hits) -> Float[np.ndarray, "P c"]:
        """Values of vertices, interpolated at the points that rays have hit."""
        corners = self.triangles.take(hits.triangle, 0)
        w = hits.weights
        mixed = values.take(corners[:, 0], 0) * w[:, :1]
        mixed += values.take(corners[:, 1], 0) * w[:, 1:2]
        mixed += values.take(corners[:, 2], 0) * w[:, 2:]
        return mixed


def build_scene_mesh(scene: Scene) -> SceneMesh:
    """Join all surfaces of a scene into one mesh."""
    vertices, triangles, instance, surface, normals, coordinates, colours, uv, material_ids = (
        [] for _ in range(9)
    )  # fmt: skip
    count = 0
    for k, each in enumerate(scene.instances):
        model = each.rig.model
        vertices.append(each.vertices)
        triangles.append(model.triangles + count)
        instance.append(np.full(len(model.triangles), k))
        surface.append(np.full(len(model.triangles), k))
        normals.append(each.normals)
        coordinates.append(each.rig.canonical)
        colours.append(np.zeros_like(each.vertices))
        uv.append(np.zeros((len(each.vertices), 2)) if model.uv is None else model.uv)
        material_ids.append(model.material_ids)
        count += len(each.vertices)
    for k, distractor in enumerate(scene.distractors):
        shape = distractor.shape
        vertices.append(distractor.vertices)
        triangles.append(shape.triangles + count)
        instance.append(np.full(len(shape.triangles), -1))
        surface.append(np.full(len(shape.triangles), len(scene.instances) + k))
        normals.append(area_weighted_normals(distractor.vertices, shape.triangles))
        coordinates.append(distractor.material_coordinates)
        colours.append(np.zeros_like(distractor.vertices))
        uv.append(np.zeros((len(distractor.vertices), 2)))
        material_ids.append(shape.material_ids)
        count += len(distractor.vertices)
    for prop in scene.props:
        vertices.append(prop.vertices)
        triangles.append(prop.triangles + count)
        instance.append(np.full(len(prop.triangles), -1))
        surface.append(np.full(len(prop.triangles), -1))
        normals.append(area_weighted_normals(prop.vertices, prop.triangles))
        coordinates.append(prop.vertices)
        colours.append(prop.colours)
        uv.append(np.zeros((len(prop.vertices), 2)))
        material_ids.append(np.zeros(len(prop.triangles), int))
        count += len(prop.vertices)
    all_vertices = np.concatenate(vertices).astype(np.float32)
    all_triangles = np.concatenate(triangles).astype(np.int32)
    all_coordinates = np.concatenate(coordinates).astype(np.float32)
    a, b, c = (all_vertices[all_triangles[:, k]] for k in range(3))
    return SceneMesh(
        vertices=all_vertices,
        triangles=all_triangles,
        instance=np.concatenate(instance),
        surface=np.concatenate(surface),
        materials=[each.material for each in scene.instances]
        + [distractor.material for distractor in scene.distractors],
        has_texture=[each.rig.model.uv is not None for each in scene.instances]
        + [False] * len(scene.distractors),
        normals_and_coordinates=np.concatenate(
            [np.concatenate(normals), all_coordinates], 1, dtype=np.float32
        ),
        coordinates=all_coordinates,
        colours=np.concatenate(colours).astype(np.float32),
        uv=np.concatenate(uv).astype(np.float32),
        material_ids=np.concatenate(material_ids),
        face_normals=unit(np.cross(b - a, c - a)),
    )
