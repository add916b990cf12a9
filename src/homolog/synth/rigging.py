"""Rigs from models: which way they face, what their bones are, and how these hang together."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.landmarks import nose_position
from homolog.synth.model import Model, ModelError
from homolog.synth.names import base_name, body_part, side_of
from homolog.synth.rig import Rig, ancestry
from homolog.synth.symmetry import symmetry_transform


def build_rig(model: Model) -> Rig:
    """Rig a model: turn it to face +z with its own left towards +x, and name its bones' parts.

    Left and right come from the bones' names, or else from the model's symmetry plane. The bones
    are not measured yet; see `measure_bones`.

    Raises:
        ModelError: neither tells left from right, or the names contradict front and back.
    """
    sides = np.array([side_of(name) for name in model.node_names])
    base_names = [base_name(name) for name in model.node_names]
    influence = np.bincount(model.joints.ravel(), model.weights.ravel(), minlength=len(sides))
    influence[influence < 0.5] = 0  # so little is an artefact of weight painting
    from_model = np.eye(4)
    notes: list[str] = []
    has_sides = False
    if model.skinned:
        lateral = _lateral_direction(model, sides, base_names, influence)
        if lateral is not None:
            forward = np.cross(lateral, [0.0, 1, 0])
            from_model[:3, :3] = np.stack([lateral, [0.0, 1, 0], forward])
            _check_head_before_tail(model, from_model, influence)
            has_sides = True
        else:
            notes.append("sides come from its symmetry plane: its bones have none in their names")
    if not has_sides:
        from_model = symmetry_transform(model.positions, model.triangles)
    rotated = model.positions @ from_model[:3, :3].T + from_model[:3, 3]
    if has_sides:
        pairs = [
            (i, j)
            for i in np.flatnonzero((sides > 0) & (influence > 0))
            for j in np.flatnonzero((sides < 0) & (influence > 0))
            if base_names[i] == base_names[j]
        ]
        origins = (from_model @ model.bind_transforms)[:, :3, 3]
        middle = np.median([origins[i, 0] + origins[j, 0] for i, j in pairs]) / 2
        from_model = from_model.copy()
        from_model[0, 3] -= middle
        rotated[:, 0] -= middle
    bind_transforms = from_model @ model.bind_transforms
    count = len(sides)
    rig = Rig(
        model=model,
        from_model=from_model,
        positions=rotated,
        bind_transforms=bind_transforms,
        parents=model.parents.copy(),
        order=list(range(count)),
        sides=sides,
        base_names=base_names,
        groups=[body_part(base) for base in base_names],
        influence=influence,
        origins=bind_transforms[:, :3, 3].copy(),
        axes=np.tile([0.0, 1, 0], (count, 1)),
        lengths=np.zeros(count),
        radii=np.zeros(count),
        dominant_node=model.joints[:, 0].copy(),
        length=1.0,
        has_sides=has_sides,
        notes=notes,
    )
    _attach_loose_chains(rig)
    return rig


def _lateral_direction(
    model: Model,
    sides: Int[np.ndarray, "N"],
    base_names: list[str],
    influence: Float[np.ndarray, "N"],
) -> Float[np.ndarray, "3"] | None:
    """The horizontal direction to the model's left, from pairs of bones; None without pairs."""
    origins = model.bind_transforms[:, :3, 3]
    used = influence > 0
    right = {base_names[n]: n for n in np.flatnonzero((sides < 0) & used)}
    across = [
        origins[n] - origins[right[base_names[n]]]
        for n in np.flatnonzero((sides > 0) & used)
        if base_names[n] in right
    ]
    if not across:
        return None
    total = np.sum(across, axis=0)
    total[1] = 0
    norm = np.linalg.norm(total)
    if norm < 0.5 * sum(np.linalg.norm(each) for each in across):
        return None  # the pairs contradict each other
    lateral = total / norm
    nearest = np.argmax(np.abs(lateral))
    if abs(lateral[nearest]) > 0.98:  # a direction near an axis is meant to be that axis
        lateral = np.eye(3)[nearest] * np.sign(lateral[nearest])
    return lateral


def _check_head_before_tail(
    model: Model, from_model: Float[np.ndarray, "4 4"], influence: Float[np.ndarray, "N"]
) -> None:
    """Raise if the head is behind the tail, which happens when left bones are named right."""
    forward = (from_model @ model.bind_transforms)[:, 2, 3]
    groups = [body_part(base_name(name)) for name in model.node_names]
    front = [forward[n] for n, group in enumerate(groups) if group == "head" and influence[n] > 0]
    back = [forward[n] for n, group in enumerate(groups) if group == "tail" and influence[n] > 0]
    if front and back and np.mean(front) < np.mean(back):
        raise ModelError("has its head behind its tail, if the bones named left are on its left")


def _attach_loose_chains(rig: Rig) -> None:
    """Attach chains of bones without a parent to the bones that end where they begin."""
    count = len(rig.order)
    size = np.ptp(rig.positions, axis=0).max()
    parents = rig.parents
    roots = [
        n for n in range(count) if rig.influence[n] > 0 and not any(
            rig.influence[a] > 0 for a in ancestry(parents, n)[1:]
        )
    ]  # fmt: skip
    if len(roots) < 2:
        return
    weight = {
        n: sum(rig.influence[m] for m in range(count) if n in ancestry(parents, m)) for n in roots
    }
    main = max(roots, key=lambda n: weight[n])
    for n in roots:
        if n == main:
            continue
        best, chosen = 0.03 * size, None
        for m in range(count):
            if n in ancestry(parents, m) or rig.sides[m] != rig.sides[n]:
                continue
            bone = m if rig.influence[m] > 0 else int(parents[m])
            if bone < 0 or rig.influence[bone] <= 0 or n in ancestry(parents, bone):
                continue
            gap = float(np.linalg.norm(rig.origins[m] - rig.origins[n]))
            if gap < best:
                best, chosen = gap, bone
        if chosen is not None:
            rig.parents[n] = chosen
    _sort_parents_first(rig)


def _sort_parents_first(rig: Rig) -> None:
    depth = [len(ancestry(rig.parents, n)) for n in range(len(rig.order))]
    rig.order = sorted(range(len(depth)), key=lambda n: (depth[n], n))


def agree_on_parents(rigs: list[Rig]) -> None:
    """Give each bone the parent that it has in most rigs: ears follow the head, not the neck."""
    votes: dict[tuple[str, int], Counter[tuple[str, int]]] = {}
    for rig in rigs:
        for node in rig.bones:
            parent = rig.parent_bone(node)
            if parent is not None:
                votes.setdefault(rig.bone_key(node), Counter())[rig.bone_key(parent)] += 1
    for rig in rigs:
        node_of = {rig.bone_key(n): n for n in rig.bones}
        for node in rig.bones:
            parent = rig.parent_bone(node)
            if parent is None:
                continue
            key = rig.bone_key(node)
            favourite, number = votes[key].most_common(1)[0]
            wanted = node_of.get(favourite)
            if (
                wanted is not None
                and number > votes[key][rig.bone_key(parent)]
                and node not in ancestry(rig.parents, wanted)
            ):
                rig.parents[node] = wanted
        _sort_parents_first(rig)


def measure_bones(rig: Rig) -> None:
    """Set the rig's `axes`, `lengths` and `radii` of the bones, and the body's `length`."""
    bones_below: dict[int, list[int]] = {}
    for node in rig.bones:
        parent = rig.parent_bone(node)
        if parent is not None:
            bones_below.setdefault(parent, []).append(node)
    nodes_below: dict[int, list[int]] = {}
    for node, above in enumerate(rig.model.parents):
        nodes_below.setdefault(int(above), []).append(node)
    for node in range(len(rig.order)):
        children = [c for c in bones_below.get(node, []) if rig.sides[c] == rig.sides[node]]
        ends = [rig.origins[c] for c in children]
        if not ends:
            ends = [
                rig.origins[c] for c in nodes_below.get(node, [])
                if rig.influence[c] <= 0 and "end" in rig.base_names[c].split("_")
            ]  # fmt: skip
        own = rig.dominant_node == node
        nose = nose_position(rig, node) if rig.base_names[node] == "head" else None
        if nose is not None:
            ends = [nose]
        if not ends and own.sum() >= 3:
            middle = rig.positions[own].mean(0)
            ends = [rig.origins[node] + 2 * (middle - rig.origins[node])]
        if ends:
            along = np.mean(ends, axis=0) - rig.origins[node]
            length = float(np.linalg.norm(along))
            if length > 1e-6 * np.ptp(rig.positions, axis=0).max():
                rig.axes[node], rig.lengths[node] = along / length, length
        if own.sum() >= 3:
            away = rig.positions[own] - rig.origins[node]
            away -= np.outer(away @ rig.axes[node], rig.axes[node])
            rig.radii[node] = np.sqrt((away**2).sum(1).mean())
    body = ~rig.belongs_to("tail")
    z = rig.positions[body if body.any() else slice(None), 2]
    rig.length = float(max(np.ptp(z), 0.2 * np.ptp(rig.positions, axis=0).max()))
