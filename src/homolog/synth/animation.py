"""The state of a model's nodes at a time of an animation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from homolog.synth.model import Model, Track
from homolog.synth.transforms import slerp, transform_matrices, world_transforms


def sample_track(track: Track, time: float) -> Float[np.ndarray, "..."]:
    """The interpolated value of an animation track at a time in seconds.

    Before the first and after the last key frame it is that key frame's value.
    """
    times, values = track.times, track.values
    spline = track.interpolation == "CUBICSPLINE"
    after = int(np.searchsorted(times, time, side="right"))
    if after == 0 or after == len(times):
        edge = values[0] if after == 0 else values[-1]
        found = edge[1] if spline else edge
    else:
        step = times[after] - times[after - 1]
        t = float((time - times[after - 1]) / step)
        a, b = values[after - 1], values[after]
        if track.interpolation == "STEP":
            found = a
        elif spline:
            found = (
                (2 * t**3 - 3 * t**2 + 1) * a[1]
                + step * (t**3 - 2 * t**2 + t) * a[2]
                + (-2 * t**3 + 3 * t**2) * b[1]
                + step * (t**3 - t**2) * b[0]
            )
        elif track.path == "rotation":
            found = slerp(a, b, t)
        else:
            found = (1 - t) * a + t * b
    return np.asarray(found)


def sample_animation(
    model: Model, tracks: Sequence[Track], time: float
) -> Float[np.ndarray, "N 4 4"]:
    """The transforms of a model's nodes to the world at a time of an animation."""
    parts = {
        "translation": model.translations.copy(),
        "rotation": model.rotations.copy(),
        "scale": model.scales.copy(),
    }
    for track in tracks:
        parts[track.path][track.node] = sample_track(track, time)
    local = transform_matrices(parts["translation"], parts["rotation"], parts["scale"])
    return world_transforms(model.parents, local)


def duration(tracks: Iterable[Track]) -> float:
    """The time of an animation's last key frame, in seconds; 0 without tracks."""
    return max((float(track.times[-1]) for track in tracks), default=0.0)
