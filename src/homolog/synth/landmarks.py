"""Keypoints of a rig: at its bones, at the ends of its limbs, its nose and its eyes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from homolog.synth.names import keypoint_name
from homolog.synth.rig import Landmark, Rig


def find_landmarks(rig: Rig) -> dict[str, Landmark]:
    """All keypoints of a rig whose bones have been measured, by name."""
    found: dict[str, Landmark] = {}
    inner = {rig.parent_bone(node) for node in rig.bones}
    joints = {int(n) for n in rig.model.bones}
    for node in rig.bones:
        if node not in joints or (
            rig.parent_bone(node) is None and rig.influence[node] < 0.01 * len(rig.positions)
        ):
            continue  # carries a mesh of its own, or is a root that hardly moves anything
        base, side = rig.bone_key(node)
        found.setdefault(keypoint_name(base, side), Landmark(node, rig.origins[node]))
        group = rig.groups[node]
        children = [n for n in rig.bones if rig.parent_bone(n) == node]
        last = node not in inner or (
            group != "trunk" and not any(rig.groups[n] == group for n in children)
        )
        if last and group not in ("neck", "trunk", "head") and rig.lengths[node] > 0:
            end = rig.origins[node] + rig.axes[node] * rig.lengths[node]
            chain = re.sub(r"_?\d+$", "", base) if group in ("ear", "tail") else base
            found.setdefault(keypoint_name(f"{chain}_tip", side), Landmark(node, end))
    head = next((n for n in reversed(rig.bones) if rig.base_names[n] == "head"), None)
    if head is not None:
        tip = nose_position(rig, head)
        if tip is not None:
            found["nose"] = Landmark(head, tip)
        eyes = [k for k, m in enumerate(rig.model.materials) if re.search(r"eye", m.name, re.I)]
        corners = rig.model.triangles[np.isin(rig.model.material_ids, eyes)].ravel()
        corners = corners[rig.dominant_node[corners] == head]
        if len(corners):
            points = rig.positions[corners]
            left, right = points[points[:, 0] > 0], points[points[:, 0] < 0]
            if len(left) and len(right):
                found["left_eye"] = Landmark(head, left.mean(0))
                found["right_eye"] = Landmark(head, right.mean(0))
    return found


def nose_position(rig: Rig, head: int) -> Float[np.ndarray, "3"] | None:
    """The tip of a head: the foremost part near the symmetry plane, lower parts preferred.

    None if too few vertices follow the head.
    """
    points = rig.positions[rig.dominant_node == head]
    if len(points) < 12:
        return None
    points = points[np.abs(points[:, 0]) < 0.35 * max(np.abs(points[:, 0]).max(), 1e-9)]
    if len(points) < 3:
        return None
    ahead = points[:, 2] - 0.2 * points[:, 1]
    return points[ahead >= np.quantile(ahead, 0.95)].mean(0) * [0, 1, 1]


def distinct_names(
    positions: Mapping[str, Float[np.ndarray, "3"]], min_distance: float = 0.06
) -> list[str]:
    """Names of keypoints of which none is within `min_distance` of another one.

    Nose, eyes and tips come first, right ones directly after left ones; a left keypoint without
    its counterpart is dropped.
    """
    names = [n for n in positions if not n.startswith("right_")]
    names.sort(key=lambda n: (n not in ("nose", "left_eye"), "tip" not in n))
    kept: list[str] = []
    for name in names:
        other = "right_" + name.removeprefix("left_") if name.startswith("left_") else None
        if other is not None and other not in positions:
            continue
        if all(np.linalg.norm(positions[name] - positions[k]) >= min_distance for k in kept):
            kept += [name] if other is None else [name, other]
    return kept
