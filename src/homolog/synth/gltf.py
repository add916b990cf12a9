"""glTF files read into models: one mesh with its skeleton and animations, for rendering."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from homolog import moved
from homolog.synth.buffers import Buffers
from homolog.synth.mesh import refine, strongest_influences
from homolog.synth.model import Material, Model, ModelError, Track
from homolog.synth.transforms import quaternion, transform_matrices, world_transforms
from homolog.utils.optional import require

if TYPE_CHECKING:
    from pygltflib import GLTF2

_EXTENSIONS = ("KHR_materials_unlit", "KHR_texture_transform", "KHR_mesh_quantization")
_MIN_TRIANGLES = 6000
"""Meshes with fewer triangles are refined, so that what is round looks round."""
_MAX_VERTICES = 60_000
"""Meshes are not refined beyond this."""
_TEXTURES = ("PNG", "JPEG", "WEBP")  # of glTF and its extensions; other formats start programs
_MAX_TEXTURE_SIZE = 1024  # pixels of the longer edge
_DEFAULT_MATERIAL = Material("", (0.8, 0.8, 0.8))


def read_model(path: Path) -> Model:
    """Read a glTF file, and refine its mesh if that is coarse.

    Raises:
        ModelError: the file is missing, broken, or holds nothing that can be rendered.
        HomologError: `pygltflib` is not installed.
    """
    pygltflib = require("pygltflib", "synth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = pygltflib.GLTF2().load(str(path))
            if file is None:
                raise ModelError("is not a glTF file")
            model = _Reader(file, path).model()
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # broken files raise nearly anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelError(f"is not a whole glTF file: {reason}") from error
    while len(model.triangles) < _MIN_TRIANGLES:
        finer = refine(model)
        if len(finer.positions) > _MAX_VERTICES:
            break
        model = finer
    return model


class _Reader:
    """Turns a parsed glTF file into a model."""

    def __init__(self, file: GLTF2, path: Path):
        self.file = file
        self.path = path
        self.buffers = Buffers(file, path)

    def model(self) -> Model:
        """The model of the file's scene, its mesh as coarse as it is stored."""
        for name in self.file.extensionsRequired or []:
            if name not in _EXTENSIONS:
                raise ModelError(f"needs the extension {name}, which is not supported")
        order, parents = self._order()
        nodes = [self.file.nodes[i] for i in order]
        index_of = {node: k for k, node in enumerate(order)}
        rest = [_local_transform(node) for node in nodes]
        translations, rotations, scales = (
            np.array([r[k] for r in rest], dtype=float).reshape(len(rest), -1) for k in range(3)
        )
        local = transform_matrices(translations, rotations, scales)
        rest_world = world_transforms(parents, local)
        bind = self._bind_transforms(order, index_of, parents, local, rest_world)
        mesh = self._mesh(order, index_of, bind, rest_world)
        return Model(
            name=self.path.stem,
            path=self.path,
            node_names=tuple(node.name or "" for node in nodes),
            parents=parents,
            translations=translations,
            rotations=rotations,
            scales=scales,
            bind_transforms=bind,
            materials=tuple(map(self._material, self.file.materials or [])) or (_DEFAULT_MATERIAL,),
            animations=self._animations(index_of),
            bones=tuple(
                sorted(
                    {
                        index_of[j]
                        for n in nodes
                        if n.skin is not None
                        for j in self.file.skins[n.skin].joints
                    }
                )
            ),
            **mesh,
        )

    def _order(self) -> tuple[list[int], Int[np.ndarray, "N"]]:
        """The scene's nodes, parents first, and the positions of their parents in that list."""
        if not self.file.nodes:
            raise ModelError("has no nodes")
        scenes = self.file.scenes or []
        if scenes:
            roots = list(scenes[self.file.scene or 0].nodes or [])
        else:
            below = {c for node in self.file.nodes for c in node.children or []}
            roots = [i for i in range(len(self.file.nodes)) if i not in below]
        order: list[int] = []
        parents: list[int] = []
        todo = [(root, -1) for root in roots]
        seen: set[int] = set()
        while todo:
            node, parent = todo.pop(0)
            if node in seen:
                raise ModelError(f"node {node} has several parents")
            seen.add(node)
            order.append(node)
            parents.append(parent)
            todo += [(c, len(order) - 1) for c in self.file.nodes[node].children or []]
        return order, np.array(parents, dtype=int)

    def _bind_transforms(
        self,
        order: list[int],
        index_of: dict[int, int],
        parents: Int[np.ndarray, "N"],
        local: Float[np.ndarray, "N 4 4"],
        rest_world: Float[np.ndarray, "N 4 4"],
    ) -> Float[np.ndarray, "N 4 4"]:
        """The nodes' transforms to the world in the bind pose, which may differ from those at rest.

        `order` holds the nodes' numbers in the file, `index_of` their positions in it.
        """
        known: dict[int, Float[np.ndarray, "4 4"]] = {}
        for k, node in enumerate(order):
            skin = self.file.nodes[node].skin
            if skin is None:
                continue
            joints, inverse = self._skin(skin)
            to_world = self._mesh_to_world(k, skin, index_of, rest_world)
            for joint, matrix in zip(joints, inverse, strict=True):
                if joint not in index_of:
                    raise ModelError(f"has skin {skin} with a joint outside of the scene")
                transform = to_world @ np.linalg.inv(matrix)
                if not np.isfinite(transform).all():
                    raise ModelError(f"has skin {skin} with a matrix that cannot be inverted")
                before = known.setdefault(index_of[joint], transform)
                size = np.abs(before).max() + 1e-9
                if np.abs(before - transform).max() > 1e-3 * size:
                    raise ModelError("has skins with different bind poses")
        bind = np.empty_like(local)
        for k, parent in enumerate(parents):
            above = np.eye(4) if parent < 0 else bind[parent]
            bind[k] = known[k] if k in known else above @ local[k]
        return bind

    def _mesh_to_world(
        self,
        k: int,
        skin: int,
        index_of: dict[int, int],
        rest_world: Float[np.ndarray, "N 4 4"],
    ) -> Float[np.ndarray, "4 4"]:
        """The transform from a skinned mesh's own coordinates to the world.

        That is usually the transform of its node, which is `order[k]`; in some files only the
        skeleton has it.
        """
        joints, inverse = self._skin(skin)
        known = [(index_of[j], m) for j, m in zip(joints, inverse, strict=True) if j in index_of]
        if not known:
            return rest_world[k]
        node, matrix = min(known, key=lambda entry: entry[0])
        rest, own = rest_world[node] @ matrix, rest_world[k]
        apart = np.linalg.norm(rest[:3, :3] - own[:3, :3])
        return own if apart < 0.5 * np.linalg.norm(own[:3, :3]) else rest

    def _skin(self, index: int) -> tuple[list[int], Float[np.ndarray, "J 4 4"]]:
        skin = self.file.skins[index]
        count = len(skin.joints)
        if skin.inverseBindMatrices is None:
            return skin.joints, np.tile(np.eye(4), (count, 1, 1))
        flat = self.buffers.array(skin.inverseBindMatrices)
        return skin.joints, flat.reshape(-1, 4, 4).transpose(0, 2, 1)[:count]

    def _mesh(
        self,
        order: list[int],
        index_of: dict[int, int],
        bind: Float[np.ndarray, "N 4 4"],
        rest_world: Float[np.ndarray, "N 4 4"],
    ) -> dict[str, Any]:
        """The fields of `Model` that describe its mesh, all meshes of the scene joined."""
        positions, joints, weights, uvs, triangles, material_ids = [], [], [], [], [], []
        count = 0
        for k, index in enumerate(order):
            node = self.file.nodes[index]
            if node.mesh is None:
                continue
            for primitive in self.file.meshes[node.mesh].primitives:
                if primitive.mode not in (None, 4) or primitive.attributes.POSITION is None:
                    continue  # points and lines have no surface
                points = self.buffers.array(primitive.attributes.POSITION).astype(float)
                number = len(points)
                if primitive.indices is None:
                    corners = np.arange(number)
                else:
                    corners = self.buffers.array(primitive.indices).ravel().astype(int)
                faces = corners[: len(corners) // 3 * 3].reshape(-1, 3)
                if faces.size and (faces.max() >= number or faces.min() < 0):
                    raise ModelError("has triangles whose vertices are missing")
                if not np.isfinite(points).all():
                    raise ModelError("has vertices at NaN or infinity")
                skinned = node.skin is not None and primitive.attributes.JOINTS_0 is not None
                if skinned:
                    matrix = self._mesh_to_world(k, node.skin, index_of, rest_world)
                    bones, shares = self._influences(primitive.attributes, node.skin, index_of)
                else:
                    matrix = bind[k]
                    bones = np.full((number, 4), k)
                    shares = np.tile([1.0, 0, 0, 0], (number, 1))
                if np.linalg.det(matrix[:3, :3]) < 0:
                    faces = faces[:, ::-1]
                positions.append(points @ matrix[:3, :3].T + matrix[:3, 3])
                joints.append(bones)
                weights.append(shares)
                uv = primitive.attributes.TEXCOORD_0
                uvs.append(
                    np.zeros((number, 2)) if uv is None else self.buffers.array(uv).astype(float)
                )
                triangles.append(faces + count)
                material = 0 if primitive.material is None else int(primitive.material)
                material_ids.append(np.full(len(faces), material))
                count += number
        if not triangles or not sum(map(len, triangles)):
            raise ModelError("has no triangles")
        vertices = np.concatenate(positions)
        size = np.ptp(vertices, axis=0).max()
        if size <= 0:
            raise ModelError("is a single point")
        corners = np.concatenate(triangles)
        a, b, c = (vertices[corners[:, i]] for i in range(3))
        solid = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12 * size * size
        if not solid.any():
            raise ModelError("has no triangles with a surface")
        # Files hold a vertex several times where colours or normals change.
        rounded = np.round(vertices / size * 1e5).astype(int)
        _, weld_ids = np.unique(rounded, axis=0, return_inverse=True)
        ids = np.concatenate(material_ids)
        if ids.max() >= max(len(self.file.materials or []), 1):
            raise ModelError("has a material that is missing")
        textured = any(np.ptp(uv) > 0 for uv in uvs if uv.size)
        return {
            "positions": vertices,
            "weld_ids": weld_ids.reshape(-1),
            "joints": np.concatenate(joints),
            "weights": np.concatenate(weights),
            "uv": np.concatenate(uvs) if textured else None,
            "triangles": corners[solid],
            "material_ids": ids[solid],
        }

    def _influences(
        self, attributes: Any, skin: int, index_of: dict[int, int]
    ) -> tuple[Int[np.ndarray, "V 4"], Float[np.ndarray, "V 4"]]:
        """The nodes that vertices follow, and their skinning weights."""
        joints = [self.buffers.array(attributes.JOINTS_0).astype(int)]
        weights = [self.buffers.array(attributes.WEIGHTS_0).astype(float)]
        more_joints = getattr(attributes, "JOINTS_1", None)
        more_weights = getattr(attributes, "WEIGHTS_1", None)
        if more_joints is not None and more_weights is not None:
            joints.append(self.buffers.array(more_joints).astype(int))
            weights.append(self.buffers.array(more_weights).astype(float))
        nodes = np.array([index_of[j] for j in self.file.skins[skin].joints])
        bones, shares = np.concatenate(joints, 1), np.concatenate(weights, 1)
        if bones.max() >= len(nodes):
            raise ModelError("has vertices whose joints are missing")
        shares = np.where(shares.sum(1, keepdims=True) > 0, shares, np.eye(shares.shape[1])[:1])
        return strongest_influences(nodes[bones], shares)

    def _animations(self, index_of: dict[int, int]) -> dict[str, tuple[Track, ...]]:
        found: dict[str, tuple[Track, ...]] = {}
        for number, animation in enumerate(self.file.animations or []):
            tracks = []
            for channel in animation.channels:
                node, path = channel.target.node, channel.target.path
                if node not in index_of or path not in ("translation", "rotation", "scale"):
                    continue
                sampler = animation.samplers[channel.sampler]
                times = self.buffers.array(sampler.input).ravel().astype(float)
                values = self.buffers.array(sampler.output).astype(float)
                interpolation = sampler.interpolation or "LINEAR"
                if path == "scale" and interpolation != "CUBICSPLINE":
                    values = _without_zeros(values)
                if interpolation == "CUBICSPLINE":
                    values = values.reshape(len(times), 3, -1)
                if len(times) and len(values) == len(times) and np.isfinite(values).all():
                    tracks.append(Track(index_of[node], path, times, values, interpolation))
            if tracks:
                found[animation.name or f"animation {number}"] = tuple(tracks)
        return found

    def _material(self, material: Any) -> Material:
        surface = material.pbrMetallicRoughness
        colour = (1.0, 1.0, 1.0)
        texture = None
        if surface is not None:
            if surface.baseColorFactor is not None:
                r, g, b = (float(np.clip(v, 0, 1)) for v in surface.baseColorFactor[:3])
                colour = (r, g, b)
            if surface.baseColorTexture is not None:
                texture = self._texture(surface.baseColorTexture.index)
        return Material(material.name or "", colour, texture)

    def _texture(self, index: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Decode a texture; None where it is missing or broken, for models can do without."""
        try:
            image = self.file.images[self.file.textures[index].source]
            if image.bufferView is not None:
                data = self.buffers.view(image.bufferView)
            else:
                data = self.buffers.read_uri(image.uri)
            with Image.open(io.BytesIO(data), formats=_TEXTURES) as opened:
                opened.thumbnail((_MAX_TEXTURE_SIZE, _MAX_TEXTURE_SIZE))
                return np.array(opened.convert("RGB"))
        except Exception:
            return None


def _local_transform(node: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Translation, rotation (a quaternion) and scale of a node relative to its parent."""
    if node.matrix is None:
        return (
            np.array(node.translation or (0, 0, 0), float),
            np.array(node.rotation or (0, 0, 0, 1), float),
            _without_zeros(np.array(node.scale or (1, 1, 1), float)),
        )
    matrix = np.array(node.matrix, float).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale[0] = -scale[0]
    rotation = matrix[:3, :3] / np.where(scale != 0, scale, 1)
    return matrix[:3, 3], quaternion(rotation), _without_zeros(scale)


def _without_zeros(scale: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Scales with zeros made tiny: files hide parts by them, but transforms must be invertible."""
    return np.where(np.abs(scale) < 1e-6, 1e-6, scale)


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
