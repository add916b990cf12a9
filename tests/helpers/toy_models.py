"""Small glTF models: an animal of boxes with bones, and objects without."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pygltflib as gl

# Bones: name, parent, origin. Left is +x, the front is +z, up is +y.
BONES = [
    ("Torso", None, (0, 1, -1)),
    ("Neck", "Torso", (0, 1, 0.6)),
    ("Head", "Neck", (0, 1.5, 1.0)),
    ("Ear.L", "Head", (0.15, 1.75, 1.05)),
    ("Ear.R", "Head", (-0.15, 1.75, 1.05)),
    ("Tail1", "Torso", (0, 1.1, -1)),
    ("Tail2", "Tail1", (0, 1.2, -1.4)),
    ("FrontUpperLeg.L", "Torso", (0.25, 0.9, 0.5)),
    ("FrontLowerLeg.L", "FrontUpperLeg.L", (0.25, 0.45, 0.5)),
    ("FrontUpperLeg.R", "Torso", (-0.25, 0.9, 0.5)),
    ("FrontLowerLeg.R", "FrontUpperLeg.R", (-0.25, 0.45, 0.5)),
    ("BackUpperLeg.L", "Torso", (0.25, 0.9, -0.9)),
    ("BackLowerLeg.L", "BackUpperLeg.L", (0.25, 0.45, -0.9)),
    ("BackUpperLeg.R", "Torso", (-0.25, 0.9, -0.9)),
    ("BackLowerLeg.R", "BackUpperLeg.R", (-0.25, 0.45, -0.9)),
]
# Boxes: their bone, two opposite corners.
BOXES = {
    "Torso": ((-0.3, 0.8, -1.1), (0.3, 1.3, 0.7)),
    "Neck": ((-0.12, 1.1, 0.55), (0.12, 1.6, 1.0)),
    "Head": ((-0.2, 1.4, 0.9), (0.2, 1.8, 1.6)),
    "Ear.L": ((0.1, 1.75, 1.0), (0.2, 2.05, 1.1)),
    "Ear.R": ((-0.2, 1.75, 1.0), (-0.1, 2.05, 1.1)),
    "Tail1": ((-0.05, 1.05, -1.4), (0.05, 1.2, -1.0)),
    "Tail2": ((-0.05, 1.15, -1.8), (0.05, 1.25, -1.4)),
}
for _name, _, (_x, _y, _z) in BONES:
    if "Leg" in _name:
        _low = 0.45 if "Upper" in _name else 0.0
        BOXES[_name] = ((_x - 0.08, _low, _z - 0.1), (_x + 0.08, _y, _z + 0.1))

_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


@dataclass
class File:
    """A glTF file that is being put together."""

    gltf: gl.GLTF2 = field(default_factory=gl.GLTF2)
    data: bytearray = field(default_factory=bytearray)

    def put(self, values: np.ndarray, kind: str) -> int:
        """Append an array and return the number of its accessor."""
        values = np.ascontiguousarray(values)
        types = {"f4": gl.FLOAT, "u2": gl.UNSIGNED_SHORT, "u4": gl.UNSIGNED_INT, "u1": 5121}
        self.data += b"\0" * (-len(self.data) % 4)
        self.gltf.bufferViews.append(
            gl.BufferView(buffer=0, byteOffset=len(self.data), byteLength=values.nbytes)
        )
        self.data += values.tobytes()
        self.gltf.accessors.append(
            gl.Accessor(
                bufferView=len(self.gltf.bufferViews) - 1, count=len(values), type=kind,
                componentType=types[values.dtype.str[1:]],
            )
        )  # fmt: skip
        return len(self.gltf.accessors) - 1

    def save(self, path: Path) -> Path:
        self.gltf.buffers = [gl.Buffer(byteLength=len(self.data))]
        self.gltf.set_binary_blob(bytes(self.data))
        self.gltf.save_binary(str(path))
        return path


def box(low, high) -> tuple[np.ndarray, np.ndarray]:
    """Corners and triangles of a box."""
    low, high = np.array(low), np.array(high)
    return low + _CORNERS * (high - low), _FACES


def rigged_animal(
    path: Path,
    *,
    rename=lambda name: name,
    stretch=(1.0, 1.0, 1.0),
    rotation=None,
    texture: bytes | None = None,
    ears: bool = True,
    animated: bool = True,
    loose: bool = False,
) -> Path:
    """A rigged animal of boxes.

    Args:
        path: of the file to write.
        rename: function from the bones' names to those in the file.
        stretch: factors along x, y, z.
        rotation: of the whole model in the file, a matrix.
        texture: the bytes of an image file.
        ears: whether they have bones; otherwise they follow the head.
        animated: whether it has an animation, in which it nods.
        loose: whether its lower legs have no parent, as in files with inverse kinematics.
    """
    file = File()
    bones = [b for b in BONES if ears or not b[0].startswith("Ear")]
    if loose:
        bones += [
            (f"{parent}_end", parent, head) for name, parent, head in bones if "LowerLeg" in name
        ]
        bones = [(n, None if "LowerLeg" in n else a, head) for n, a, head in bones]
    rotation = np.eye(3) if rotation is None else rotation
    heads = {name: rotation @ (np.array(head) * stretch) for name, _, head in bones}
    index_of = {name: i for i, (name, _, _) in enumerate(bones)}
    for name, parent, _ in bones:
        start = heads[parent] if parent else np.zeros(3)
        node = gl.Node(name=rename(name), translation=list(map(float, heads[name] - start)))
        node.children = [index_of[n] for n, a, _ in bones if a == name]
        file.gltf.nodes.append(node)
    points, joints, faces = [], [], []
    for name, (low, high) in BOXES.items():
        corners, triangles = box(np.array(low) * stretch, np.array(high) * stretch)
        faces.append(triangles + 8 * len(points))
        points.append(corners @ rotation.T)
        bone = name if name in index_of else "Head"
        joints.append(np.tile([index_of[bone], 0, 0, 0], (8, 1)))
    positions = np.concatenate(points).astype("f4")
    inverse = np.tile(np.eye(4, dtype="f4"), (len(bones), 1, 1))
    for name, i in index_of.items():
        inverse[i, :3, 3] = -heads[name]
    attributes = gl.Attributes(
        POSITION=file.put(positions, "VEC3"),
        JOINTS_0=file.put(np.concatenate(joints).astype("u1"), "VEC4"),
        WEIGHTS_0=file.put(np.tile(np.array([1, 0, 0, 0], "f4"), (len(positions), 1)), "VEC4"),
    )
    surface = gl.PbrMetallicRoughness(baseColorFactor=[0.5, 0.3, 0.2, 1])
    if texture is not None:
        attributes.TEXCOORD_0 = file.put(positions[:, :2] - positions[:, :2].min(0), "VEC2")
        file.data += b"\0" * (-len(file.data) % 4)
        file.gltf.bufferViews.append(
            gl.BufferView(buffer=0, byteOffset=len(file.data), byteLength=len(texture))
        )
        file.data += texture
        file.gltf.images = [
            gl.Image(bufferView=len(file.gltf.bufferViews) - 1, mimeType="image/png")
        ]
        file.gltf.textures = [gl.Texture(source=0)]
        surface.baseColorTexture = gl.TextureInfo(index=0)
    file.gltf.materials = [gl.Material(name="Main", pbrMetallicRoughness=surface)]
    file.gltf.meshes = [
        gl.Mesh(primitives=[gl.Primitive(
            attributes=attributes, material=0,
            indices=file.put(np.concatenate(faces).ravel().astype("u2"), "SCALAR"),
        )])
    ]  # fmt: skip
    skin = gl.Skin(joints=list(range(len(bones))))
    skin.inverseBindMatrices = file.put(inverse.transpose(0, 2, 1).reshape(-1, 16), "MAT4")
    file.gltf.skins = [skin]
    file.gltf.nodes.append(gl.Node(name="Animal", mesh=0, skin=0))
    roots = [i for i, (_, parent, _) in enumerate(bones) if parent is None]
    file.gltf.scenes = [gl.Scene(nodes=[*roots, len(bones)])]
    file.gltf.scene = 0
    if animated:
        half = np.sin(np.deg2rad(15))
        rotations = np.array([[0, 0, 0, 1], [half, 0, 0, np.cos(np.deg2rad(15))]], "f4")
        sampler = gl.AnimationSampler(
            input=file.put(np.array([0, 1], "f4"), "SCALAR"), output=file.put(rotations, "VEC4")
        )
        sampler.interpolation = "LINEAR"
        target = gl.AnimationChannelTarget(node=index_of["Neck"], path="rotation")
        file.gltf.animations = [
            gl.Animation(
                name="Nod", samplers=[sampler],
                channels=[gl.AnimationChannel(sampler=0, target=target)],
            )
        ]  # fmt: skip
    return file.save(path)


def static_object(path: Path, boxes: list[tuple], name: str = "Object", **node) -> Path:
    """Boxes without a skeleton; further arguments are of their glTF node."""
    file = File()
    points, faces = zip(*(box(low, high) for low, high in boxes), strict=True)
    indices = np.concatenate([f + 8 * i for i, f in enumerate(faces)]).ravel().astype("u4")
    attributes = gl.Attributes(POSITION=file.put(np.concatenate(points).astype("f4"), "VEC3"))
    primitive = gl.Primitive(attributes=attributes, indices=file.put(indices, "SCALAR"))
    file.gltf.meshes = [gl.Mesh(primitives=[primitive])]
    file.gltf.nodes = [gl.Node(name=name, mesh=0, **node)]
    file.gltf.scenes = [gl.Scene(nodes=[0])]
    file.gltf.scene = 0
    return file.save(path)


CHAIR = [((-0.5, 0.45, -0.5), (0.5, 0.55, 0.5)), ((-0.5, 0.55, -0.5), (0.5, 1.2, -0.42))]
"""Boxes of a chair; its back is at -z, so it faces +z."""
for _x in (-0.4, 0.4):
    CHAIR += [((_x - 0.05, 0, z - 0.05), (_x + 0.05, 0.45, z + 0.05)) for z in (-0.4, 0.4)]
