"""Random shapes and poses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from homolog.synth.rig import Pose, Rig, about, duration, up


def random_shape(rig: Rig, rng: np.random.Generator, amount: float = 1.0) -> dict[int, np.ndarray]:
    """Scales of the bones, the same on both sides."""

    def factor(spread: float) -> float:
        return float(np.exp(np.clip(rng.normal(0, spread * amount), -2 * spread, 2 * spread)))

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
    for base in sorted(set(rig.bases)):
        each[base] = factor(0.05), factor(0.06)
    scales: dict[int, np.ndarray] = {}
    side = np.array([1.0, 0, 0])
    for node in rig.deforming:
        group = rig.groups[node]
        long, thick = longer[group] * each[rig.bases[node]][0], thicker[group]
        thick *= each[rig.bases[node]][1]
        a = rig.axes[node]
        scale = thick * np.eye(3) + (long - thick) * np.outer(a, a)
        if group == "trunk":
            b = side - a * (side @ a)
            size = np.linalg.norm(b)
            if size > 0.5:
                b /= size
                scale = scale + thick * (width - 1) * np.outer(b, b)
        scales[node] = scale
    return scales


@dataclass(frozen=True)
class _Leg:
    front: bool
    side: int
    bones: list[int]  # from the trunk to the ground


def legs(rig: Rig) -> list[_Leg]:
    """The chains of bones that reach the ground, if there are two pairs."""
    inner = {rig.above(node) for node in rig.deforming}
    ends = [
        n for n in rig.deforming if rig.sides[n] and rig.groups[n] == "leg" and n not in inner
    ]  # fmt: skip
    found = []
    for end in ends:
        chain = [end]
        while True:
            above = rig.above(chain[-1])
            if above is None or rig.sides[above] != rig.sides[end]:
                break
            chain.append(above)
        found.append((float(rig.heads[end][2]), int(rig.sides[end]), chain[::-1]))
    if len(found) != 4 or sorted(s for _, s, _ in found) != [-1, -1, 1, 1]:
        return []
    middle = np.mean([z for z, _, _ in found])
    return [_Leg(bool(z > middle), side, chain) for z, side, chain in found]


def random_pose(rig: Rig, rng: np.random.Generator) -> tuple[Pose, str]:
    """A pose and what it is: the name of an animation, or `bind`, `sit`, `lie` or `fold`."""
    model = rig.model
    pose = Pose()
    kind = "bind"
    if not model.skinned:
        return pose, kind
    four = legs(rig) if rig.sided else []
    folding = bool(four) and min(len(leg.bones) for leg in four) >= 4
    names = sorted(model.animations)
    if names:
        chosen = names[int(rng.integers(len(names)))]
        low = re.search(r"death|die|dead", chosen, re.IGNORECASE)
        whole = duration(model.animations[chosen])
        # What falls, lies at the end.
        early = rng.beta(3, 1) if low else rng.random()
        pose.animation, pose.time, kind = chosen, float(whole * early), chosen.rpartition("|")[2]
    draw = rng.random()
    if folding and draw < 0.3:
        quiet = [n for n in names if re.search(r"idle", n, re.IGNORECASE)]
        pose.animation = quiet[int(rng.integers(len(quiet)))] if quiet else None
        pose.time = float(rng.random() * 3)
        kind = "sit" if draw < 0.14 else "lie"
        _fold(rig, rng, pose, four, kind)
    _jitter(rig, rng, pose)
    pose.scales = random_shape(rig, rng)
    return pose, kind


def unposable(rig: Rig) -> str | None:
    """Why a model cannot be posed, if it cannot: animations may hold anything."""
    size = np.ptp(rig.positions, axis=0).max()
    for seed in range(3):
        try:
            with np.errstate(all="raise", under="ignore"):
                pose, kind = random_pose(rig, np.random.default_rng(seed))
                vertices = rig.skinned(rig.moved(pose))
        except (ArithmeticError, np.linalg.LinAlgError, IndexError) as error:
            return f"cannot be posed: {error}"
        if not np.isfinite(vertices).all() or np.ptp(vertices, axis=0).max() > 10 * size:
            return f"falls apart when it is posed ({kind})"
    return None


def _add(pose: Pose, node: int, turn: np.ndarray) -> None:
    pose.turns[node] = turn @ pose.turns[node] if node in pose.turns else turn


def _fold(rig: Rig, rng: np.random.Generator, pose: Pose, four: list[_Leg], kind: str) -> None:
    """Sitting or lying: legs folded, in terms of angles in the plane of the body.

    An angle of 0 points forward, -90 down, 180 back.
    """
    pitch = rng.uniform(25, 48) if kind == "sit" else rng.uniform(-6, 6)
    roll = 0.0 if kind == "sit" else rng.normal(0, 6)
    trunk = next(n for n in rig.order if rig.share[n] > 0 and rig.groups[n] == "trunk")
    top = up(rig.parents, trunk)[-1]
    root = trunk if rig.parents[trunk] < 0 else next(
        (n for n in up(rig.parents, trunk)[::-1] if n != top), trunk
    )  # fmt: skip
    _add(pose, root, about([0, 0, 1], roll) @ about([1, 0, 0], -pitch))
    necks = [n for n in rig.deforming if rig.groups[n] in ("neck", "head") and not rig.sides[n]]
    for n in necks:
        _add(pose, n, about([1, 0, 0], pitch * rng.uniform(0.5, 1.0) / len(necks)))
    tucked = rng.random() < 0.3
    both = {
        True: [rng.normal(-97, 8), rng.normal(-87, 6), rng.normal(-70, 12), rng.normal(-12, 8)],
        False: [rng.normal(5, 15), rng.normal(-152, 10), rng.normal(-6, 6), -4.0, -4.0],
    }
    if kind == "lie":
        both[True] = [rng.normal(-125, 12), rng.normal(-8, 8), -4.0, -4.0]
        if tucked:
            both[True] = [rng.normal(-60, 12), rng.normal(-172, 6), 175.0, 175.0]
        both[False] = [rng.normal(8, 15), rng.normal(-168, 8), rng.normal(-5, 6), -4.0, -4.0]
    for leg in four:
        angles = both[leg.front]
        bones = leg.bones[-len(angles) :]
        splay = rng.normal(0.12, 0.1) * leg.side
        for k, bone in enumerate(bones):
            angle = np.deg2rad(angles[len(angles) - len(bones) + k] + rng.normal(0, 5))
            pose.aims[bone] = np.array([splay, np.sin(angle), np.cos(angle)])


def _jitter(rig: Rig, rng: np.random.Generator, pose: Pose) -> None:
    """Head, ears and tail turned, everything else a little."""
    yaw = rng.normal(0, 38) if rng.random() < 0.7 else rng.normal(0, 8)
    yaw = float(np.clip(yaw, -100, 100))
    nod, tilt = float(rng.normal(0, 16)), float(rng.normal(0, 9))
    chain = [n for n in rig.deforming if rig.groups[n] in ("neck", "head") and not rig.sides[n]]
    for n in chain:
        part = 1 / len(chain)
        turn = about([0, 1, 0], yaw * part) @ about([1, 0, 0], nod * part)
        _add(pose, n, turn @ about([0, 0, 1], tilt * part))
    droop = float(rng.choice([0.0, rng.uniform(20, 110)], p=[0.6, 0.4]))
    back = float(rng.normal(0, 15))
    wag, lift = float(rng.normal(0, 14)), float(rng.normal(0, 14))
    for n in rig.deforming:
        group, side = rig.groups[n], int(rig.sides[n])
        above = rig.above(n)
        first = above is None or rig.groups[above] != group
        if group == "ear" and first:
            turn = about([0, 0, 1], -side * (droop + rng.normal(0, 8)))
            _add(pose, n, about([1, 0, 0], back + rng.normal(0, 8)) @ turn)
        elif group == "ear":
            _add(pose, n, about([0, 0, 1], -side * (0.25 * droop)))
        elif group == "tail":
            _add(pose, n, about([0, 1, 0], wag) @ about([1, 0, 0], lift * (2 if first else 0.7)))
        elif group == "leg" and n not in pose.aims:
            _add(pose, n, about([1, 0, 0], rng.normal(0, 5)) @ about([0, 0, 1], rng.normal(0, 2)))
        elif group in ("trunk", "other"):
            axis = rng.normal(size=3)
            _add(pose, n, about(axis, rng.normal(0, 2.5)))
