"""One space for all models, found from their skeletons, and the keypoints in it.

Canonical coordinates are (left, forward, up): x is positive on the thing's own left, y towards its
front, z upwards; a body reaches from about -1 to 1 along y.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from homolog.synth.gltf import Model, ModelError
from homolog.synth.names import base_of, group_of, keypoint_name, side_of
from homolog.synth.rig import Landmark, Rig, swing, up
from homolog.synth.symmetry import symmetry


def prepare(models: Sequence[Model]) -> tuple[list[Rig], dict[str, str], dict[str, list[float]]]:
    """The models made ready, those left out with the reasons, and where the keypoints are.

    Returns:
        Rigs, reasons by name, and canonical coordinates of the keypoints by name, left ones
        directly before right ones.
    """
    rigs: list[Rig] = []
    left_out: dict[str, str] = {}
    for model in models:
        try:
            rigs.append(_rig(model))
        except ModelError as error:
            left_out[model.name] = str(error)
    _agree_on_parents([rig for rig in rigs if rig.sided])
    for rig in rigs:
        _measure(rig)
    keypoints = _canonical([rig for rig in rigs if rig.sided])
    for rig in rigs:
        if not rig.sided:
            rig.canonical = _boxed(rig.positions)
    return rigs, left_out, keypoints


def _boxed(positions: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Canonical coordinates where no skeleton gives them: -1..1 over the box around.

    The symmetry plane, not the middle of the box, is where x is 0.
    """
    low, high = positions.min(0), positions.max(0)
    half = np.maximum((high - low) / 2, 1e-9)
    middle = (low + high) / 2
    middle[0], half[0] = 0, max(np.abs(positions[:, 0]).max(), 1e-9)
    return ((positions - middle) / half)[:, [0, 2, 1]]


def _rig(model: Model) -> Rig:
    sides = np.array([side_of(name) for name in model.node_names])
    bases = [base_of(name) for name in model.node_names]
    share = np.bincount(model.joints.ravel(), model.weights.ravel(), minlength=len(sides))
    share[share < 0.5] = 0  # what is that little is a slip of the brush
    turn = np.eye(4)
    notes: list[str] = []
    sided = False
    if model.skinned:
        lateral = _lateral(model, sides, bases, share)
        if lateral is not None:
            forward = np.cross(lateral, [0.0, 1, 0])
            turn[:3, :3] = np.stack([lateral, [0.0, 1, 0], forward])
            _front_before_back(model, turn, share)
            sided = True
        else:
            notes.append("its bones' names tell no sides, they come from its symmetry plane")
    if not sided:
        turn = symmetry(model.positions, model.triangles)
    rotated = model.positions @ turn[:3, :3].T + turn[:3, 3]
    if sided:
        pairs = [
            (i, j)
            for i in np.flatnonzero((sides > 0) & (share > 0))
            for j in np.flatnonzero((sides < 0) & (share > 0))
            if bases[i] == bases[j]
        ]
        heads = (turn @ model.bind)[:, :3, 3]
        middle = np.median([heads[i, 0] + heads[j, 0] for i, j in pairs]) / 2
        turn = turn.copy()
        turn[0, 3] -= middle
        rotated[:, 0] -= middle
    bind = turn @ model.bind
    count = len(sides)
    rig = Rig(
        model=model,
        turn=turn,
        positions=rotated,
        bind=bind,
        parents=model.parents.copy(),
        order=list(range(count)),
        sides=sides,
        bases=bases,
        groups=[group_of(base) for base in bases],
        share=share,
        heads=bind[:, :3, 3].copy(),
        axes=np.tile([0.0, 1, 0], (count, 1)),
        lengths=np.zeros(count),
        radii=np.zeros(count),
        dominant=model.joints[:, 0].copy(),
        length=1.0,
        sided=sided,
        notes=notes,
    )
    _attach(rig)
    return rig


def _lateral(
    model: Model, sides: Int[np.ndarray, "N"], bases: list[str], share: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "3"] | None:
    """The horizontal direction to the model's left, from bones in pairs."""
    heads = model.bind[:, :3, 3]
    used = share > 0
    right = {bases[n]: n for n in np.flatnonzero((sides < 0) & used)}
    across = [
        heads[n] - heads[right[bases[n]]]
        for n in np.flatnonzero((sides > 0) & used)
        if bases[n] in right
    ]
    if not across:
        return None
    total = np.sum(across, axis=0)
    total[1] = 0
    size = np.linalg.norm(total)
    spread = sum(np.linalg.norm(each) for each in across)
    if size < 0.5 * spread:
        return None  # they point in all directions
    lateral = total / size
    nearest = np.argmax(np.abs(lateral))
    if abs(lateral[nearest]) > 0.98:  # what is nearly an axis is meant to be one
        lateral = np.eye(3)[nearest] * np.sign(lateral[nearest])
    return lateral


def _front_before_back(
    model: Model, turn: Float[np.ndarray, "4 4"], share: Float[np.ndarray, "N"]
) -> None:
    """Raises if heads are behind tails, which happens when left is named right."""
    heads = (turn @ model.bind)[:, 2, 3]
    names = [base_of(name) for name in model.node_names]
    groups = [group_of(name) for name in names]
    front = [heads[n] for n, group in enumerate(groups) if group == "head" and share[n] > 0]
    back = [heads[n] for n, group in enumerate(groups) if group == "tail" and share[n] > 0]
    if front and back and np.mean(front) < np.mean(back):
        raise ModelError("its head is behind its tail if left is what its bones call left")


def _attach(rig: Rig) -> None:
    """Hang chains of bones that stand alone on the bones that end where they begin."""
    count = len(rig.order)
    size = np.ptp(rig.positions, axis=0).max()
    above = rig.parents
    free = [
        n for n in range(count) if rig.share[n] > 0 and not any(
            rig.share[a] > 0 for a in up(above, n)[1:]
        )
    ]  # fmt: skip
    if len(free) < 2:
        return
    weight = {n: sum(rig.share[m] for m in range(count) if n in up(above, m)) for n in free}
    main = max(free, key=lambda n: weight[n])
    for n in free:
        if n == main:
            continue
        best, chosen = 0.03 * size, None
        for m in range(count):
            if n in up(above, m) or rig.sides[m] != rig.sides[n]:
                continue
            bone = m if rig.share[m] > 0 else int(above[m])
            if bone < 0 or rig.share[bone] <= 0 or n in up(above, bone):
                continue
            gap = float(np.linalg.norm(rig.heads[m] - rig.heads[n]))
            if gap < best:
                best, chosen = gap, bone
        if chosen is not None:
            rig.parents[n] = chosen
    _sort(rig)


def _sort(rig: Rig) -> None:
    depth = [len(up(rig.parents, n)) for n in range(len(rig.order))]
    rig.order = sorted(range(len(depth)), key=lambda n: (depth[n], n))


def _agree_on_parents(rigs: list[Rig]) -> None:
    """Let bones hang on what they hang on in most models: ears on the head, not the neck."""
    votes: dict[tuple[str, int], Counter[tuple[str, int]]] = {}
    for rig in rigs:
        for node in rig.deforming:
            above = rig.above(node)
            if above is not None:
                votes.setdefault(rig.key(node), Counter())[rig.key(above)] += 1
    for rig in rigs:
        places = {rig.key(n): n for n in rig.deforming}
        for node in rig.deforming:
            above = rig.above(node)
            if above is None:
                continue
            favourite, number = votes[rig.key(node)].most_common(1)[0]
            wanted = places.get(favourite)
            if (
                wanted is not None
                and number > votes[rig.key(node)][rig.key(above)]
                and node not in up(rig.parents, wanted)
            ):
                rig.parents[node] = wanted
        _sort(rig)


def _measure(rig: Rig) -> None:
    """Axes, lengths and thickness of the bones, and the body's length."""
    below: dict[int, list[int]] = {}
    for node in rig.deforming:
        above = rig.above(node)
        if above is not None:
            below.setdefault(above, []).append(node)
    direct: dict[int, list[int]] = {}
    for node, parent in enumerate(rig.model.parents):
        direct.setdefault(int(parent), []).append(node)
    for node in range(len(rig.order)):
        children = [c for c in below.get(node, []) if rig.sides[c] == rig.sides[node]]
        ends = [rig.heads[c] for c in children]
        if not ends:
            ends = [
                rig.heads[c] for c in direct.get(node, [])
                if rig.share[c] <= 0 and "end" in rig.bases[c].split("_")
            ]  # fmt: skip
        mine = rig.dominant == node
        nose = _nose(rig, node) if rig.bases[node] == "head" else None
        if nose is not None:
            ends = [nose]
        if not ends and mine.sum() >= 3:
            middle = rig.positions[mine].mean(0)
            ends = [rig.heads[node] + 2 * (middle - rig.heads[node])]
        if ends:
            along = np.mean(ends, axis=0) - rig.heads[node]
            length = float(np.linalg.norm(along))
            if length > 1e-6 * np.ptp(rig.positions, axis=0).max():
                rig.axes[node], rig.lengths[node] = along / length, length
        if mine.sum() >= 3:
            away = rig.positions[mine] - rig.heads[node]
            away -= np.outer(away @ rig.axes[node], rig.axes[node])
            rig.radii[node] = np.sqrt((away**2).sum(1).mean())
    body = ~np.isin(rig.dominant, [n for n, g in enumerate(rig.groups) if g == "tail"])
    z = rig.positions[body if body.any() else slice(None), 2]
    rig.length = float(max(np.ptp(z), 0.2 * np.ptp(rig.positions, axis=0).max()))


def _canonical(rigs: list[Rig]) -> dict[str, list[float]]:
    """Canonical coordinates of all models of one kind of skeleton, and their keypoints."""
    if not rigs:
        return {}
    Key = tuple[str, int]
    offsets: dict[Key, list[np.ndarray]] = {}
    axes: dict[Key, list[np.ndarray]] = {}
    sizes: dict[Key, list[tuple[float, float]]] = {}
    parents: dict[Key, Counter[Key | None]] = {}
    for rig in rigs:
        unit = 2 / rig.length
        z = rig.positions[~_of(rig, "tail"), 2]
        middle = np.array([0, 0, (z.min() + z.max()) / 2])
        for node in rig.deforming:
            key, above = rig.key(node), rig.above(node)
            parents.setdefault(key, Counter())[None if above is None else rig.key(above)] += 1
            start = middle if above is None else rig.heads[above]
            flip = np.array([-1 if key[1] < 0 else 1, 1, 1])
            both = (key[0], abs(key[1]))
            offsets.setdefault(both, []).append(flip * unit * (rig.heads[node] - start))
            axes.setdefault(both, []).append(flip * rig.axes[node])
            sizes.setdefault(both, []).append((unit * rig.lengths[node], unit * rig.radii[node]))
    # Left and right are each other's mirror images, what has no side is in the middle.
    heads: dict[Key, np.ndarray] = {}

    def head(key: Key, trail: tuple[Key, ...] = ()) -> np.ndarray:
        if key not in heads:
            above = next(
                (p for p, _ in parents[key].most_common() if p not in trail and p in parents), None
            )
            both = (key[0], abs(key[1]))
            offset = np.mean(offsets[both], axis=0)
            if key[1] == 0:
                offset[0] = 0
            if above is not None and above[1] and key[1] and above[1] != key[1]:
                above = None
            start = np.zeros(3) if above is None else head(above, (*trail, key))
            heads[key] = start + offset * [-1 if key[1] < 0 else 1, 1, 1]
        return heads[key]

    canon: dict[Key, tuple[np.ndarray, np.ndarray, float, float]] = {}
    for key in parents:
        both = (key[0], abs(key[1]))
        axis = np.mean(axes[both], axis=0)
        if key[1] == 0:
            axis[0] = 0
        axis = axis * [-1 if key[1] < 0 else 1, 1, 1]
        size = np.linalg.norm(axis)
        axis = axis / size if size > 1e-6 else np.array([0.0, 1, 0])
        length, radius = np.mean(sizes[both], axis=0)
        canon[key] = head(key), axis, float(length), float(radius)

    maps: list[Float[np.ndarray, "N 4 4"]] = []
    low, high = [], []
    for rig in rigs:
        unit = 2 / rig.length
        moved = np.tile(np.eye(4), (len(rig.order), 1, 1))
        for node in rig.deforming:
            place, axis, length, radius = canon[rig.key(node)]
            own = unit * rig.lengths[node], unit * rig.radii[node]
            along = np.clip(length / own[0], 0.3, 3.0) if own[0] > 1e-6 else 1.0
            thick = np.clip(radius / own[1], 0.5, 2.0) if own[1] > 1e-6 else 1.0
            a = rig.axes[node]
            stretch = unit * (thick * np.eye(3) + (along - thick) * np.outer(a, a))
            matrix = swing(a, axis) @ stretch
            moved[node, :3, :3] = matrix
            moved[node, :3, 3] = place - matrix @ rig.heads[node]
        for node in rig.order:  # what moves nothing itself goes with what it hangs on
            if rig.share[node] <= 0 and rig.parents[node] >= 0:
                moved[node] = moved[rig.parents[node]]
        maps.append(moved)
        rig.canonical = rig.skinned(moved)
        body = rig.canonical[~_of(rig, "tail")]
        low.append(body.min(0))
        high.append(body.max(0))
    bottom, top = np.mean(low, axis=0), np.mean(high, axis=0)
    middle, half = (bottom + top) / 2, (top[2] - bottom[2]) / 2
    middle[0] = 0
    for rig in rigs:
        rig.canonical = ((rig.canonical - middle) / half)[:, [0, 2, 1]]

    places: dict[str, list[np.ndarray]] = {}
    for rig, moved in zip(rigs, maps, strict=True):
        rig.landmarks = _landmarks(rig)
        for name, mark in rig.landmarks.items():
            there = moved[mark.node, :3, :3] @ mark.place + moved[mark.node, :3, 3]
            places.setdefault(name, []).append(((there - middle) / half)[[0, 2, 1]])
    means = {name: np.mean(where, axis=0) for name, where in places.items()}
    kept = _distinct(means)
    for rig in rigs:
        rig.landmarks = {name: rig.landmarks[name] for name in kept if name in rig.landmarks}
    return {name: [round(float(v), 4) for v in means[name]] for name in kept}


def _of(rig: Rig, group: str) -> Bool[np.ndarray, "V"]:
    return np.isin(rig.dominant, [n for n, g in enumerate(rig.groups) if g == group])


def _landmarks(rig: Rig) -> dict[str, Landmark]:
    found: dict[str, Landmark] = {}
    with_children = {rig.above(node) for node in rig.deforming}
    bones = {int(n) for n in rig.model.bones}
    for node in rig.deforming:
        if node not in bones or (
            rig.above(node) is None and rig.share[node] < 0.01 * len(rig.positions)
        ):
            continue  # carries a mesh of its own, or is a root that hardly moves anything
        base, side = rig.key(node)
        found.setdefault(keypoint_name(base, side), Landmark(node, rig.heads[node]))
        same = [n for n in rig.deforming if rig.above(n) == node]
        last = node not in with_children or (
            rig.groups[node] != "trunk" and not any(rig.groups[n] == rig.groups[node] for n in same)
        )
        if last and rig.groups[node] not in ("neck", "trunk", "head") and rig.lengths[node] > 0:
            end = rig.heads[node] + rig.axes[node] * rig.lengths[node]
            chain = re.sub(r"_?\d+$", "", base) if rig.groups[node] in ("ear", "tail") else base
            found.setdefault(keypoint_name(f"{chain}_tip", side), Landmark(node, end))
    head = next((n for n in reversed(rig.deforming) if rig.bases[n] == "head"), None)
    if head is not None:
        tip = _nose(rig, head)
        if tip is not None:
            found["nose"] = Landmark(head, tip)
        eyes = [k for k, m in enumerate(rig.model.materials) if re.search(r"eye", m.name, re.I)]
        corners = rig.model.triangles[np.isin(rig.model.material, eyes)].ravel()
        corners = corners[rig.dominant[corners] == head]
        if len(corners):
            where = rig.positions[corners]
            left, right = where[where[:, 0] > 0], where[where[:, 0] < 0]
            if len(left) and len(right):
                found["left_eye"] = Landmark(head, left.mean(0))
                found["right_eye"] = Landmark(head, right.mean(0))
    return found


def _nose(rig: Rig, head: int) -> Float[np.ndarray, "3"] | None:
    """The tip of a head: its foremost place in the middle, and a little down, as noses are."""
    mine = rig.positions[rig.dominant == head]
    if len(mine) < 12:
        return None
    mine = mine[np.abs(mine[:, 0]) < 0.35 * max(np.abs(mine[:, 0]).max(), 1e-9)]
    if len(mine) < 3:
        return None
    ahead = mine[:, 2] - 0.2 * mine[:, 1]
    return mine[ahead >= np.quantile(ahead, 0.95)].mean(0) * [0, 1, 1]


def _distinct(means: Mapping[str, Float[np.ndarray, "3"]], apart: float = 0.06) -> list[str]:
    """Names of keypoints in order, without those next to another one."""
    first = ("nose", "left_eye")
    names = [n for n in means if not n.startswith("right_")]
    names.sort(key=lambda n: (n not in first, "tip" not in n))
    kept: list[str] = []
    for name in names:
        other = "right_" + name.removeprefix("left_") if name.startswith("left_") else None
        if other is not None and other not in means:
            continue
        if all(np.linalg.norm(means[name] - means[k]) >= apart for k in kept):
            kept += [name] if other is None else [name, other]
    return kept
