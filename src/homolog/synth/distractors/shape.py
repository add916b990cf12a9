"""The mesh of a distractor, and a builder that puts it together from parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.distractors.primitives import Mesh, Vector
from homolog.synth.mesh import material_area_fractions
from homolog.synth.model import Material


@dataclass(frozen=True, eq=False)
class Shape:
    """The mesh of a distractor, with its materials.

    Attributes:
        kind: one of `KINDS`.
        vertices: positions; y is up.
        triangles: vertex indices.
        material_ids: of each triangle, an index into `materials`.
        materials: names and base colours.
    """

    kind: str
    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "M 3"]
    material_ids: Int[np.ndarray, "M"]
    materials: tuple[Material, ...]

    @property
    def area_fractions(self) -> list[float]:
        """The fraction of the surface that each material covers."""
        return material_area_fractions(
            self.vertices, self.triangles, self.material_ids, len(self.materials)
        )


class MeshBuilder:
    """Builds a mesh of parts that have different materials.

    Attributes:
        points: of each part.
        faces: vertex indices of each part, into the points of all.
        material_ids: of each part's triangles, indices into `material_names`.
        material_names: in the order of their first use.
    """

    def __init__(self) -> None:
        self.points: list[Float[np.ndarray, "V 3"]] = []
        self.faces: list[Int[np.ndarray, "M 3"]] = []
        self.material_ids: list[Int[np.ndarray, "M"]] = []
        self.material_names: list[str] = []
        self._count = 0

    def add(self, mesh: Mesh, material: str, position: Vector = (0, 0, 0)) -> None:
        """Add a part of a material, moved to a position."""
        points, faces = mesh
        if material not in self.material_names:
            self.material_names.append(material)
        self.points.append(points + np.asarray(position, float))
        self.faces.append(faces + self._count)
        self.material_ids.append(np.full(len(faces), self.material_names.index(material)))
        self._count += len(points)
