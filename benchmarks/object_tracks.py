"""Several objects tracked through scenes of cut-out renders, of which everything is known.

    python benchmarks/object_tracks.py RENDERS [SCENE ...]

RENDERS is a folder that `homolog synth` wrote. Prints, for each scene, the number of objects in a
frame that are taken for another, of those lost in plain sight, of those hidden and not lost, and
how many points are within a tenth and a twentieth of the object's size; and what a frame takes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trays
from PIL import Image

from homolog import Matcher
from homolog.applications.object_tracker import ObjectTracker

_SIZE = (960, 540)
_LENGTH = 190
_FRAMES = 20


@dataclass(frozen=True)
class Scene:
    """Objects in motion.

    Attributes:
        frames: the images.
        boxes: (x, y, width, height) of each object in each frame, hidden or not.
        points: of each object in each frame.
        visible: the share of each object that is in sight in each frame.
    """

    frames: list[Image.Image]
    boxes: np.ndarray
    points: list[list[np.ndarray]]
    visible: np.ndarray


def line(*stops: tuple[float, float], frames: int = _FRAMES, ease: bool = False) -> np.ndarray:
    """Positions along lines between stops, at an even speed, or slower at the stops."""
    share = np.linspace(0, len(stops) - 1, frames)
    if ease:
        share = np.floor(share) + (1 - np.cos(np.pi * (share % 1))) / 2
    corners = np.array(stops, float)
    return np.stack([np.interp(share, range(len(stops)), axis) for axis in corners.T], axis=1)


def wander(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A smooth path all over the frame."""
    t = np.linspace(0, 1, frames)[:, None]
    phase, rate = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.8, 1.6, 2)
    return np.array(_SIZE) / 2 + np.array([340, 150]) * np.sin(2 * np.pi * rate * t + phase)


def posed(each: trays.Cutout, angle: float, length: float) -> trays.Cutout:
    """A cutout of a size, turned by some degrees."""
    each = each.scaled(length)
    image = each.image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    points = (each.keypoints - np.array(each.image.size) / 2) @ np.array([[cos, -sin], [sin, cos]])
    mask = np.asarray(image)[..., 3] > 127
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corner = np.array([columns[0], rows[0]])
    image = image.crop((*corner, columns[-1] + 1, rows[-1] + 1))
    return trays.Cutout(
        each.name, each.model, image, points + np.array(mask.shape[::-1]) / 2 - corner
    )


def make_scene(
    objects: Sequence[trays.Cutout],
    paths: Sequence[np.ndarray],
    seed: int,
    turn: float = 0.0,
    resize: float = 0.0,
    bar: tuple[int, int] | None = None,
) -> Scene:
    """A scene.

    Args:
        objects: later ones lie in front.
        paths: the centre of each object in each frame.
        seed: of the background.
        turn: degrees that they swing to either side.
        resize: share of their size by which they grow and shrink.
        bar: left and right edge of a bar in front of all.
    """
    behind = trays.background(np.random.default_rng(seed), _SIZE)
    frames, boxes, points, visible = [], [], [], []
    for step, centres in enumerate(zip(*paths, strict=True)):
        frame, owner = behind.copy(), np.zeros(_SIZE[::-1], int)
        boxes.append([])
        points.append([])
        areas = []
        for index, (each, centre) in enumerate(zip(objects, centres, strict=True), start=1):
            scale = 1 + resize * np.sin(step / 6 + 2 * index)
            cutout = posed(each, turn * np.sin(step / 5 + index), scale * _LENGTH)
            corner = np.round(centre - np.array(cutout.image.size) / 2).astype(int)
            frame.paste(cutout.image, tuple(corner), cutout.image)
            layer = Image.new("L", _SIZE)
            layer.paste(Image.fromarray(cutout.mask.astype(np.uint8)), tuple(corner))
            owner[np.asarray(layer) > 0] = index
            areas.append(cutout.mask.sum())
            boxes[-1].append((*corner, *cutout.image.size))
            points[-1].append(cutout.keypoints + corner)
        if bar is not None:
            frame.paste((90, 70, 50), (bar[0], 0, bar[1], _SIZE[1]))
            owner[:, bar[0] : bar[1]] = 0
        frames.append(frame)
        visible.append([(owner == n).sum() / area for n, area in enumerate(areas, start=1)])
    return Scene(frames, np.array(boxes, float), points, np.array(visible))


def scenes(cutouts: Sequence[trays.Cutout]) -> dict[str, Callable[[], Scene]]:
    """The scenes by name; made when called."""
    by_model = defaultdict(list)
    for each in cutouts:
        if np.isfinite(each.keypoints[:, 0]).sum() >= 6 and max(each.image.size) > 150:
            by_model[each.model].append(each)

    def kinds(count: int, seed: int) -> list[trays.Cutout]:
        rng = np.random.default_rng(seed)
        models = rng.permutation(sorted(by_model))[:count]
        return [by_model[model][rng.integers(len(by_model[model]))] for model in models]

    def of_a_kind(count: int, seed: int) -> list[trays.Cutout]:
        rng = np.random.default_rng(seed)
        many = sorted(model for model in by_model if len(by_model[model]) >= count)
        found = by_model[many[rng.integers(len(many))]]
        return [found[index] for index in rng.permutation(len(found))[:count]]

    def twins(count: int, seed: int) -> list[trays.Cutout]:
        return kinds(1, seed) * count

    across = line((180, 270), (780, 270)), line((780, 290), (180, 260))
    poses = {"turn": 20.0, "resize": 0.2}
    eased = (
        line((180, 250), (780, 270), ease=True),
        line((780, 300), (180, 260), ease=True),
        line((480, 430), (420, 130), ease=True),
    )

    def wandering(objects: Sequence[trays.Cutout], seed: int) -> Scene:
        rng = np.random.default_rng(seed)
        return make_scene(objects, [wander(rng, 48) for _ in objects], seed, 10, 0.1)

    return {
        "different, cross": lambda: make_scene(kinds(2, 1), across, 1),
        "different, cross, turn": lambda: make_scene(kinds(3, 11), eased, 9, **poses),
        "different, turn back": lambda: make_scene(
            kinds(2, 13),
            [
                line((200, 270), (500, 270), (200, 270), ease=True),
                line((760, 280), (510, 280), (760, 280), ease=True),
            ],
            11,
        ),
        "different, fast": lambda: make_scene(
            kinds(2, 18),
            [line((120, 180), (820, 380), frames=10), line((820, 180), (120, 360), frames=10)],
            16,
        ),
        "different, behind a bar": lambda: make_scene(
            kinds(2, 7),
            [line((150, 150), (800, 180)), line((800, 400), (200, 400))],
            7,
            bar=(400, 560),
        ),
        "different, one leaves": lambda: make_scene(
            kinds(2, 8),
            [line((700, 150), (1200, 150), (700, 150)), line((200, 400), (400, 400))],
            8,
        ),
        "different, three wander": lambda: wandering(kinds(3, 21), 21),
        "of a kind, cross": lambda: make_scene(of_a_kind(2, 3), across, 3),
        "of a kind, cross, turn": lambda: make_scene(of_a_kind(2, 4), eased[:2], 4, **poses),
        "of a kind, three wander": lambda: wandering(of_a_kind(3, 22), 22),
        "twins, cross": lambda: make_scene(twins(2, 5), across, 5),
        "twins, cross, turn": lambda: make_scene(twins(2, 12), eased[:2], 13, 15, 0.1),
        "twins, overtake": lambda: make_scene(
            twins(2, 17), [line((150, 270), (780, 270)), line((350, 270), (600, 270))], 15
        ),
        "twins, three wander": lambda: wandering(twins(3, 23), 23),
    }


def judge(matcher: Matcher, name: str, scene: Scene) -> None:
    """Track a scene and print how well that went."""
    known = [np.isfinite(points[:, 0]) for points in scene.points[0]]
    given = []
    for points, rows, (x, y, width, height) in zip(
        scene.points[0], known, scene.boxes[0], strict=True
    ):
        given.append(np.clip(points[rows], (x, y), (x + width, y + height)))
    tracker = ObjectTracker(matcher, scene.frames[0], scene.boxes[0], np.concatenate(given))
    # Where boxes overlap, a keypoint may be taken for the other object's.
    owners = np.repeat(np.arange(len(known)), [rows.sum() for rows in known])
    tracker.restart()
    taken, in_sight, lost, hidden, unlost = 0, 0, 0, 0, 0
    errors, start = [], time.process_time()
    found = [tracker.update(frame) for frame in scene.frames[1:]]
    seconds = (time.process_time() - start) / len(found)
    for step, each in enumerate(found, start=1):
        for index, box in enumerate(each.boxes):
            overlaps = [trays.overlap_of(box, other) for other in scene.boxes[step]]
            visible, missing = scene.visible[step, index], each.lost[index]
            taken += not missing and overlaps[index] < 0.3 and max(overlaps) > 0.4
            in_sight += visible > 0.6
            lost += missing and visible > 0.6
            hidden += visible < 0.1
            unlost += not missing and visible < 0.1
            if visible > 0.95 and not missing:
                rows = (owners == index) & (tracker.owners == index)
                truth = scene.points[step][index][known[index]][
                    tracker.owners[owners == index] == index
                ]
                distance = np.linalg.norm(each.tracks.points[rows] - truth, axis=1)
                errors += (distance / max(scene.boxes[step, index, 2:])).tolist()
    right = sum(
        not found[-1].lost[index] and trays.overlap_of(box, scene.boxes[-1, index]) > 0.5
        for index, box in enumerate(found[-1].boxes)
    )
    within = [100 * np.mean(np.array(errors) < limit) for limit in (0.05, 0.1)]
    print(
        f"{name:24} taken for another {taken:3}, lost in sight {lost:3} of {in_sight:3}, not lost "
        f"though hidden {unlost} of {hidden}, at the end {right} of {len(known)}, points "
        f"{within[0]:.1f} / {within[1]:.1f}, {seconds:.2f} s of processor a frame",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("renders", type=Path)
    parser.add_argument("scenes", nargs="*")
    arguments = parser.parse_args()
    matcher = Matcher.from_pretrained("embedded")
    known = scenes(trays.cutouts(arguments.renders))
    for name in arguments.scenes or known:
        judge(matcher, name, known[name]())


if __name__ == "__main__":
    main()
