"""Render the bundled example pair: two low-poly animals, with keypoints from their skeletons.

The models are Quaternius' animated animals (CC0 1.0, https://quaternius.com), as glTF binaries.
Blender serves as a Python module and renders on the CPU, in about two minutes on two cores:

    pip install bpy==5.0.1
    python examples/render_pair.py path/to/animals src/homolog/assets/example

It writes `left.jpg`, `right.jpg` and `keypoints.json`. In the latter, `left` and `right` in a
keypoint's name are the animal's own sides, and a keypoint is `[x, y, visible]`: pixels from the
upper left corner (the first pixel's centre is at 0.5, 0.5), and 2 where the keypoint is
visible, 1 where the animal itself occludes it.
"""

import argparse
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

# First, since it brings the other modules of Blender along.
import bpy  # isort: skip
import bmesh
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Color, Euler, Matrix, Vector
from mathutils.bvhtree import BVHTree

WIDTH, HEIGHT = 640, 480
# How far behind the surface a joint may lie and still count as visible, and how far a point on the
# skin is lifted for that test, since the flank just occludes the ridge of the back from a low
# camera. In model units: the animals are about 2.5 high.
DEPTH, LIFT = 0.25, 0.06
JOINTS = {
    "front_elbow": "FrontLowerLeg",
    "front_paw": "FF",
    "hind_knee": "BackUpperLeg",
    "hind_hock": "BackLowerLeg",
    "hind_paw": "FFB",
}


@dataclass(frozen=True)
class Shot:
    """One image: which animal, in which pose, seen from where, in which landscape.

    Angles are in degrees; an azimuth of 0 is straight ahead of the animal, 90 at its left.
    Colours are sRGB, as hexadecimal digits.
    """

    file: str
    model: str
    action: str
    frame: int
    eye_material: str
    coat: dict[str, tuple[str, str]]
    azimuth: float
    elevation: float
    sun_azimuth: float
    sun: str
    sky: tuple[str, str]
    ground: tuple[str, ...]
    trees: str
    crowns: tuple[str, ...]
    litter: tuple[str, ...]
    litter_size: float


SHOTS = (
    Shot(
        file="left.jpg",
        model="Fox",
        action="Walk",
        frame=14,
        eye_material="Eyes",
        coat={
            "Main": ("de7a2c", "c2621f"),
            "Main_Light": ("f8f1e6", "e9dfcf"),
            "Grey": ("43342e", "2b211d"),
        },
        azimuth=66,
        elevation=8,
        sun_azimuth=25,
        sun="ffe2b8",
        sky=("cfe3f0", "5d9fdc"),
        ground=("8d8a4a", "a9905a"),
        trees="ball",
        crowns=("c9772b", "d9a441", "8c8f3d", "a8502a"),
        litter=("c4602a", "d99a3a", "8a4a26"),
        litter_size=0.06,
    ),
    Shot(
        file="right.jpg",
        model="Husky",
        action="Idle",
        frame=30,
        eye_material="Material.002",
        coat={"Material": ("555c66", "3c434c"), "Material.001": ("f8f7f4", "e9e8e4")},
        azimuth=44,
        elevation=9,
        sun_azimuth=88,
        sun="fff0dc",
        sky=("a9cff2", "3f86d6"),
        ground=("e9eef4", "cfdbe8"),
        trees="cone",
        crowns=("2f5147", "3d6355", "56796b", "a9bdb8"),
        litter=("e4ebf2", "f3f6f9"),
        litter_size=0.16,
    ),
)


def linear(code: str) -> tuple[float, float, float, float]:
    """The scene-linear RGBA colour of six hexadecimal digits of sRGB."""
    srgb = Color([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return (*srgb.from_srgb_to_scene_linear(), 1.0)


def direction(azimuth: float, elevation: float) -> Vector:
    """The unit vector in the direction of two angles; the animals face -y, +x is their left."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return Vector((math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)))


def add(data: bpy.types.ID) -> bpy.types.Object:
    """Add an object to the scene."""
    instance = bpy.data.objects.new(data.name, data)
    bpy.context.collection.objects.link(instance)
    return instance


def load(path: Path, shot: Shot) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Import a model: the posed armature and the smoothed mesh of the animal."""
    bpy.ops.import_scene.gltf(filepath=str(path))
    for each in list(bpy.data.objects):
        # The importer adds an icosphere, which only serves to draw the bones.
        if each.type == "MESH" and not each.find_armature():
            bpy.data.objects.remove(each)
    mesh = next(each for each in bpy.data.objects if each.type == "MESH")
    armature = mesh.find_armature()
    for material in mesh.data.materials:
        if material.name in shot.coat:
            paint(material, shot.coat[material.name], scale=3000, bump=0.2)
    # glTF splits vertices along sharp edges; smoothing needs them merged.
    work = bmesh.new()
    work.from_mesh(mesh.data)
    bmesh.ops.remove_doubles(work, verts=work.verts, dist=1e-5)
    work.to_mesh(mesh.data)
    for name in ("custom_normal", "sharp_edge", "sharp_face"):
        if name in mesh.data.attributes:
            mesh.data.attributes.remove(mesh.data.attributes[name])
    mesh.data.shade_smooth()
    smooth = mesh.modifiers.new("smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 2
    animation = armature.animation_data
    animation.action = bpy.data.actions[f"{armature.name}|{shot.action}"]
    animation.action_slot = animation.action_suitable_slots[0]
    bpy.context.scene.frame_set(shot.frame)
    return armature, mesh


def paint(
    material: bpy.types.Material,
    colours: tuple[str, ...],
    scale: float = 1.0,
    bump: float = 0.0,
    per_object: bool = False,
) -> bpy.types.Material:
    """Give a material a matt surface whose colour varies by noise, or from object to object."""
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    shader = nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = 0.8
    shader.inputs["Specular IOR Level"].default_value = 0.2
    noise = nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = scale
    noise.inputs["Detail"].default_value = 6
    # Stretched along the animal's back, the noise looks like strands of fur.
    stretch = nodes.new("ShaderNodeMapping")
    stretch.inputs["Scale"].default_value = (1, 1, 0.3)
    link(nodes.new("ShaderNodeTexCoord").outputs["Object"], stretch.inputs["Vector"])
    link(stretch.outputs["Vector"], noise.inputs["Vector"])
    ramp = nodes.new("ShaderNodeValToRGB")
    low, high = (0.0, 1.0) if per_object else (0.35, 0.65)
    gradient(ramp.color_ramp, colours, low, high)
    number = nodes.new("ShaderNodeObjectInfo").outputs["Random"]
    link(number if per_object else noise.outputs["Fac"], ramp.inputs["Fac"])
    link(ramp.outputs["Color"], shader.inputs["Base Color"])
    height = nodes.new("ShaderNodeBump")
    height.inputs["Strength"].default_value = bump
    link(noise.outputs["Fac"], height.inputs["Height"])
    link(height.outputs["Normal"], shader.inputs["Normal"])
    return material


def gradient(ramp: bpy.types.ColorRamp, colours: tuple[str, ...], low: float, high: float) -> None:
    """Spread colours evenly over a part of a colour ramp."""
    while len(ramp.elements) < len(colours):
        ramp.elements.new(1.0)
    for i, code in enumerate(colours):
        ramp.elements[i].position = low + (high - low) * i / (len(colours) - 1)
        ramp.elements[i].color = linear(code)


def light(shot: Shot) -> None:
    """Add a soft sun, and a sky that is paler towards the horizon."""
    sun = bpy.data.lights.new("sun", "SUN")
    sun.color, sun.energy, sun.angle = linear(shot.sun)[:3], 4.3, math.radians(5)
    towards = direction(shot.sun_azimuth, 35)
    add(sun).rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
    world = bpy.context.scene.world = bpy.data.worlds.new("sky")
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    split = nodes.new("ShaderNodeSeparateXYZ")
    link(nodes.new("ShaderNodeTexCoord").outputs["Generated"], split.inputs["Vector"])
    ramp = nodes.new("ShaderNodeValToRGB")
    gradient(ramp.color_ramp, shot.sky, 0.0, 0.25)
    link(split.outputs["Z"], ramp.inputs["Fac"])
    link(ramp.outputs["Color"], nodes["Background"].inputs["Color"])


def solid(kind: str, transforms: list[Matrix], material: bpy.types.Material) -> bpy.types.Mesh:
    """A low-poly mesh of cones or balls, one for each transform."""
    work, mesh = bmesh.new(), bpy.data.meshes.new(kind)
    for transform in transforms:
        if kind == "cone":
            bmesh.ops.create_cone(work, segments=9, radius1=1, radius2=0, depth=1, matrix=transform)
        else:
            bmesh.ops.create_icosphere(work, subdivisions=2, radius=1, matrix=transform)
    work.to_mesh(mesh)
    mesh.materials.append(material)
    return mesh


def landscape(shot: Shot) -> None:
    """Add the ground, litter on it, and a wood behind the animal."""
    rng = random.Random(3)
    away = -direction(shot.azimuth, 0)
    across = away.cross(Vector((0, 0, 1)))

    def material(*colours: str) -> bpy.types.Material:
        return paint(bpy.data.materials.new("matt"), colours, per_object=True)

    def at(x: float, z: float, width: float, height: float) -> Matrix:
        return Matrix.LocRotScale(Vector((x, 0, z)), None, Vector((width, width, height)))

    def scatter(depth: float, width: float, size: float, *meshes: bpy.types.Mesh) -> None:
        place, turn = away * depth + across * width, rng.uniform(0, math.tau)
        scale = Vector.Fill(3, size * rng.uniform(0.7, 1.3))
        for mesh in meshes:
            add(mesh).matrix_world = Matrix.LocRotScale(place, Euler((0, 0, turn)), scale)

    bpy.ops.mesh.primitive_plane_add(size=400)
    soil = paint(bpy.data.materials.new("soil"), shot.ground, scale=0.6, bump=0.5)
    bpy.context.object.data.materials.append(soil)
    trunk = solid("cone", [at(0, 1.0, 0.28, 3.0)], material("4a3426", "6b4c37"))
    places = {
        "ball": [at(0, 3.2, 1.6, 1.7), at(0.9, 2.4, 1.1, 1.0), at(-0.8, 2.5, 1.0, 1.1)],
        "cone": [at(0, 1.6 + 1.1 * i, 1.5 - 0.35 * i, 2.2) for i in range(3)],
    }
    crown = solid(shot.trees, places[shot.trees], material(*shot.crowns))
    bit = solid("ball", [at(0, 0, 1, 0.3)], material(*shot.litter))
    for _ in range(120):
        depth = rng.uniform(26, 70)
        scatter(depth, rng.uniform(-0.6, 0.6) * depth, 0.9, trunk, crown)
    for _ in range(350):
        depth, width = rng.uniform(-7, 14), rng.uniform(-9, 9)
        # Nothing lies where it could hide a paw.
        if math.hypot(depth, width) > 2.5:
            scatter(depth, width, shot.litter_size, bit)


def aim(shot: Shot, points: np.ndarray) -> bpy.types.Object:
    """Add a camera that sees all points with a little room around, its background out of focus."""
    camera = add(bpy.data.cameras.new("camera"))
    bpy.context.scene.camera = camera
    camera.data.lens = 60
    towards = direction(shot.azimuth, shot.elevation)
    camera.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    tight, _ = camera.camera_fit_coords(graph, points.ravel().tolist())
    distance = (tight - Vector(points.mean(axis=0))).dot(towards)
    camera.location = tight + towards * distance * 0.13
    camera.data.dof.use_dof = True
    camera.data.dof.focus_distance = distance * 1.13
    camera.data.dof.aperture_fstop = 1.2
    bpy.context.view_layer.update()
    return camera


def surface(mesh: bpy.types.Object) -> tuple[np.ndarray, bpy.types.Object]:
    """The smoothed mesh: its vertices in the world, and the evaluated object."""
    bpy.context.view_layer.update()
    final = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    flat = np.empty(len(final.data.vertices) * 3)
    final.data.vertices.foreach_get("co", flat)
    world = np.array(mesh.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3], final


def keypoints(
    shot: Shot, armature: bpy.types.Object, mesh: bpy.types.Object, camera: bpy.types.Object
) -> dict[str, list[float]]:
    """The projected keypoints by name: x, y and visibility."""
    # Vertices of the skin are chosen in the rest pose, where the animal stands along the axes, and
    # followed into the pose: the two meshes have the same vertices.
    armature.data.pose_position = "REST"
    rest, final = surface(mesh)
    x, y, z = rest.T
    eyes = np.zeros(len(rest), bool)
    for face in final.data.polygons:
        if final.data.materials[face.material_index].name == shot.eye_material:
            eyes[list(face.vertices)] = True
    joint = {bone.name: armature.matrix_world @ bone.head_local for bone in armature.data.bones}
    armature.data.pose_position = "POSE"
    posed, final = surface(mesh)
    tree = BVHTree.FromPolygons(posed.tolist(), [f.vertices[:] for f in final.data.polygons])

    # For each keypoint its position, points of which one must be visible, and the tolerance.
    found: dict[str, tuple[Vector, list[Vector], float]] = {}

    def skin(name: str, mask: np.ndarray, score: np.ndarray) -> None:
        point = Vector(posed[np.argmax(np.where(mask, score, -np.inf))])
        found[name] = point, [point + Vector((0, 0, LIFT))], DEPTH

    head = y < joint["Neck3"].y
    skin("nose", head, -y - 0.2 * np.abs(x))
    for side, sign, suffix in (("left", 1, ".L"), ("right", -1, ".R")):
        own = sign * x > 0
        eye = posed[eyes & own]
        # No tolerance here: the bridge of the nose just occludes the eye on the other side.
        found[f"{side}_eye"] = Vector(eye.mean(axis=0)), [Vector(point) for point in eye], 0.01
        skin(f"{side}_ear", head & own, z)
        for part, bone in JOINTS.items():
            near = np.linalg.norm(rest - joint[bone + suffix], axis=1) < 0.2
            point = Vector(posed[near].mean(axis=0))
            found[f"{side}_{part}"] = point, [point], DEPTH

    def on_back(where: float) -> np.ndarray:
        return (np.abs(x) < 0.06) & (np.abs(y - where) < 0.1)

    skin("withers", on_back(joint["FrontLowerLeg.L"].y + 0.2), z)
    skin("tail_base", on_back((joint["Tail1"].y + joint["Tail2"].y) / 2), z)
    last = max(name for name in joint if name.startswith("Tail"))
    skin("tail_tip", y > joint["Tail1"].y, rest @ np.array(joint[last] - joint["Tail1"]))

    def is_visible(point: Vector, tolerance: float) -> bool:
        ray = point - camera.location
        _, _, _, distance = tree.ray_cast(camera.location, ray)
        return distance is None or distance > ray.length - tolerance

    result = {}
    for name, (point, probes, tolerance) in found.items():
        u, v, _ = world_to_camera_view(bpy.context.scene, camera, point)
        visible = 2 if any(is_visible(probe, tolerance) for probe in probes) else 1
        result[name] = [round(u * WIDTH, 2), round((1 - v) * HEIGHT, 2), visible]
    return result


def render(shot: Shot, models: Path, output: Path, samples: int) -> dict[str, list[float]]:
    """Render one image to a file and return its keypoints."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    armature, mesh = load(models / f"{shot.model}.glb", shot)
    light(shot)
    landscape(shot)
    camera = aim(shot, surface(mesh)[0])
    scene.render.engine = "CYCLES"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = True
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.exposure = 0.3
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.render.image_settings.file_format = "JPEG"
    scene.render.image_settings.quality = 92
    for name in ("date", "time", "render_time", "frame", "camera", "scene", "filename"):
        setattr(scene.render, f"use_stamp_{name}", False)  # the same bytes at every run
    scene.render.filepath = str(output / shot.file)
    bpy.ops.render.render(write_still=True)
    return keypoints(shot, armature, mesh, camera)


def main() -> None:
    """Render both images and write their keypoints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, help="folder with Fox.glb and Husky.glb")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--samples", type=int, default=128, help="light paths per pixel")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    found = {shot.file: render(shot, args.models, args.output, args.samples) for shot in SHOTS}
    names = list(found[SHOTS[0].file])
    table = {"source": "Quaternius (CC0 1.0)", "names": names}
    table |= {file: [points[name] for name in names] for file, points in found.items()}
    (args.output / "keypoints.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
