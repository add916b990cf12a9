"""Random poses and random proportions of a rigged model."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from homolog.synth.animation import duration
from homolog.synth.rig import Pose, Rig, ancestry
from homolog.synth.transforms import axis_rotation


def random_bone_scales(rig: Rig, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Random proportions of a body, the same on both sides, as `Pose.scales`."""

    def factor(spread: float) -> float:
        return float(np.exp(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread)))

    longer = {
        "leg": factor(0.2), "neck": factor(0.2), "head": factor(0.16), "ear": factor(0.28),
        "tail": factor(0.3), "trunk": factor(0.1), "other": factor(0.1),
    }  # fmt: skip
    head_size = factor(0.15)
    thicker = {
        "leg": factor(0.22), "neck": factor(0.16), "head": head_size, "ear": factor(0.22),
        "tail": factor(0.3), "trunk": factor(0.14), "other": factor(0.1),
    }  # fmt: skip
    longer["head"] *= head_size
    width = factor(0.12)
    each: dict[str, tuple[float, float]] = {}
    for base in sorted(set(rig.base_names)):
        each[base] = factor(0.05), factor(0.06)
    scales: dict[int, np.ndarray] = {}
    left = np.array([1.0, 0, 0])
    for node in rig.bones:
        group = rig.groups[node]
        long, thick = longer[group] * each[rig.base_names[node]][0], thicker[group]
        thick *= each[rig.base_names[node]][1]
        a = rig.axes[node]
        scale = thick * np.eye(3) + (long - thick) * np.outer(a, a)
        if group == "trunk":
            b = left - a * (left @ a)
            norm = np.linalg.norm(b)
            if norm > 0.5:
                b /= norm
                scale = scale + thick * (width - 1) * np.outer(b, b)
        scales[node] = scale
    return scales


@dataclass(frozen=True)
class Leg:
    """One of four legs.

    Attributes:
        front: whether it is a front leg.
        side: 1 left, -1 right.
        bones: from the trunk to the ground.
    """

    front: bool
    side: int
    bones: list[int]


def find_legs(rig: Rig) -> list[Leg]:
    """The four legs of a model; an empty list if it does not have two on each side."""
    inner = {rig.parent_bone(node) for node in rig.bones}
    ends = [
        n for n in rig.bones if rig.sides[n] and rig.groups[n] == "leg" and n not in inner
    ]  # fmt: skip
    found = []
    for end in ends:
        chain = [end]
        while True:
            parent = rig.parent_bone(chain[-1])
            if parent is None or rig.sides[parent] != rig.sides[end]:
                break
            chain.append(parent)
        found.append((float(rig.origins[end][2]), int(rig.sides[end]), chain[::-1]))
    if len(found) != 4 or sorted(s for _, s, _ in found) != [-1, -1, 1, 1]:
        return []
    middle = np.mean([z for z, _, _ in found])
    return [Leg(bool(z > middle), side, chain) for z, side, chain in found]


def random_pose(rig: Rig, rng: np.random.Generator) -> tuple[Pose, str]:
    """A random pose with random proportions.

    Returns:
        The pose, and its name: that of an animation without its prefix, or `bind`, `sit` or `lie`.
    """
    model = rig.model
    pose = Pose()
    name = "bind"
    if not model.skinned:
        return pose, name
    legs = find_legs(rig) if rig.has_sides else []
    folding = bool(legs) and min(len(leg.bones) for leg in legs) >= 4
    names = sorted(model.animations)
    if names:
        chosen = names[int(rng.integers(len(names)))]
        falling = re.search(r"death|die|dead", chosen, re.IGNORECASE)
        seconds = duration(model.animations[chosen])
        # The end of a fall, where the body lies, is wanted more often than its beginning.
        fraction = rng.beta(3, 1) if falling else rng.random()
        pose.animation, pose.time = chosen, float(seconds * fraction)
        name = chosen.rpartition("|")[2]
    draw = rng.random()
    if folding and draw < 0.3:
        idle = [n for n in names if re.search(r"idle", n, re.IGNORECASE)]
        pose.animation = idle[int(rng.integers(len(idle)))] if idle else None
        pose.time = float(rng.random() * 3)
        name = "sit" if draw < 0.14 else "lie"
        _fold_legs(rig, rng, pose, legs, name)
    _jitter(rig, rng, pose)
    pose.scales = random_bone_scales(rig, rng)
    return pose, name


def posing_error(rig: Rig) -> str | None:
    """Why a model cannot be posed; None if three random poses of it are sound.

    Animations may hold anything.
    """
    size = np.ptp(rig.positions, axis=0).max()
    for seed in range(3):
        try:
            with np.errstate(all="raise", under="ignore"):
                pose, name = random_pose(rig, np.random.default_rng(seed))
                vertices = rig.skin(rig.pose_transforms(pose))
        except (ArithmeticError, np.linalg.LinAlgError, IndexError) as error:
            return f"cannot be posed: {error}"
        if not np.isfinite(vertices).all() or np.ptp(vertices, axis=0).max() > 10 * size:
            return f"falls apart when it is posed ({name})"
    return None


def _rotate(pose: Pose, node: int, rotation: np.ndarray) -> None:
    """Add a rotation of a node to those that the pose has."""
    before = pose.rotations.get(node)
    pose.rotations[node] = rotation if before is None else rotation @ before


def _fold_legs(rig: Rig, rng: np.random.Generator, pose: Pose, legs: list[Leg], name: str) -> None:
    """Fold the legs for sitting (`sit`) or lying (`lie`).

    Directions of bones are angles in the body's plane of symmetry, in degrees: 0 is forward, -90
    down, 180 back.
    """
    pitch = rng.uniform(25, 48) if name == "sit" else rng.uniform(-6, 6)
    roll = 0.0 if name == "sit" else rng.normal(0, 6)
    trunk = next(n for n in rig.bones if rig.groups[n] == "trunk")
    top = ancestry(rig.parents, trunk)[-1]
    root = trunk if rig.parents[trunk] < 0 else next(
        (n for n in ancestry(rig.parents, trunk)[::-1] if n != top), trunk
    )  # fmt: skip
    _rotate(pose, root, axis_rotation([0, 0, 1], roll) @ axis_rotation([1, 0, 0], -pitch))
    necks = [n for n in rig.bones if rig.groups[n] in ("neck", "head") and not rig.sides[n]]
    for n in necks:
        _rotate(pose, n, axis_rotation([1, 0, 0], pitch * rng.uniform(0.5, 1.0) / len(necks)))
    tucked = rng.random() < 0.3
    angles_of = {
        True: [rng.normal(-97, 8), rng.normal(-87, 6), rng.normal(-70, 12), rng.normal(-12, 8)],
        False: [rng.normal(5, 15), rng.normal(-152, 10), rng.normal(-6, 6), -4.0, -4.0],
    }
    if name == "lie":
        angles_of[True] = [rng.normal(-125, 12), rng.normal(-8, 8), -4.0, -4.0]
        if tucked:
            angles_of[True] = [rng.normal(-60, 12), rng.normal(-172, 6), 175.0, 175.0]
        angles_of[False] = [rng.normal(8, 15), rng.normal(-168, 8), rng.normal(-5, 6), -4.0, -4.0]
    for leg in legs:
        angles = angles_of[leg.front]
        bones = leg.bones[-len(angles) :]
        splay = rng.normal(0.12, 0.1) * leg.side
        for k, bone in enumerate(bones):
            angle = np.deg2rad(angles[len(angles) - len(bones) + k] + rng.normal(0, 5))
            pose.directions[bone] = np.array([splay, np.sin(angle), np.cos(angle)])


def _jitter(rig: Rig, rng: np.random.Generator, pose: Pose) -> None:
    """Turn the head, the ears and the tail, and everything else a little."""
    yaw = rng.normal(0, 38) if rng.random() < 0.7 else rng.normal(0, 8)
    yaw = float(np.clip(yaw, -100, 100))
    nod, tilt = float(rng.normal(0, 16)), float(rng.normal(0, 9))
    chain = [n for n in rig.bones if rig.groups[n] in ("neck", "head") and not rig.sides[n]]
    for n in chain:
        share = 1 / len(chain)
        rotation = axis_rotation([0, 1, 0], yaw * share) @ axis_rotation([1, 0, 0], nod * share)
        _rotate(pose, n, rotation @ axis_rotation([0, 0, 1], tilt * share))
    droop = float(rng.choice([0.0, rng.uniform(20, 110)], p=[0.6, 0.4]))
    back = float(rng.normal(0, 15))
    wag, lift = float(rng.normal(0, 14)), float(rng.normal(0, 14))
    for n in rig.bones:
        group, side = rig.groups[n], int(rig.sides[n])
        parent = rig.parent_bone(n)
        first = parent is None or rig.groups[parent] != group
        if group == "ear" and first:
            rotation = axis_rotation([0, 0, 1], -side * (droop + rng.normal(0, 8)))
            _rotate(pose, n, axis_rotation([1, 0, 0], back + rng.normal(0, 8)) @ rotation)
        elif group == "ear":
            _rotate(pose, n, axis_rotation([0, 0, 1], -side * (0.25 * droop)))
        elif group == "tail":
            _rotate(
                pose,
                n,
                axis_rotation([0, 1, 0], wag)
                @ axis_rotation([1, 0, 0], lift * (2 if first else 0.7)),
            )
        elif group == "leg" and n not in pose.directions:
            _rotate(
                pose,
                n,
                axis_rotation([1, 0, 0], rng.normal(0, 5))
                @ axis_rotation([0, 0, 1], rng.normal(0, 2)),
            )
        elif group in ("trunk", "other"):
            axis = rng.normal(size=3)
            _rotate(pose, n, axis_rotation(axis, rng.normal(0, 2.5)))
