"""Before an adaptation trains: images are described and chosen, and some kept aside."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import HomologError
from homolog.image.poses import POSE_SETS, PoseVariant
from homolog.training.adaptation.choosing import choose_objects, choosing_teacher
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.images import (
    ImageSet,
    LeftOut,
    changed_images,
    check_enough,
    left_out_notes,
)
from homolog.training.adaptation.pairs import (
    describe_images,
    propose_pairs,
    same_kind,
    vary_in_angle,
)
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher
from homolog.training.adaptation.workspace import Workspace
from homolog.training.augmentation import UNCHANGED, PoseView

_FEWEST_HELD_ASIDE = 3
_ANGLE_PAIRS = 40  # pairs of images in which it is seen whether objects lie at any angle


@dataclass(frozen=True)
class Prepared:
    """What was found out about the images of a run, by their indices in its store.

    Attributes:
        training: the images that are trained on.
        held_aside: those that are kept aside.
        left_out: those that are not used.
        rotations: whether objects lie at any angle.
    """

    training: tuple[int, ...]
    held_aside: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    rotations: bool

    @property
    def used(self) -> list[int]:
        """All images that are not left out, in order."""
        return sorted(self.training + self.held_aside)

    @property
    def poses(self) -> tuple[PoseVariant, ...]:
        """In which the source of a pair is matched."""
        return POSE_SETS["rotations" if self.rotations else "none"]

    @property
    def views(self) -> list[PoseView]:
        """In which an image is trained on."""
        return [PoseView(pose) for pose in POSE_SETS["all" if self.rotations else "flip"]]

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists, ready for JSON."""
        left_out = [[str(each.path), each.reason] for each in self.left_out]
        return dataclasses.asdict(self) | {"left_out": left_out}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Prepared:
        """What `to_dict` made a dictionary of, perhaps by way of JSON."""
        return cls(
            tuple(plain["training"]),
            tuple(plain["held_aside"]),
            tuple(LeftOut(Path(path), reason) for path, reason in plain["left_out"]),
            plain["rotations"],
        )


def prepare(
    candidates: ImageSet,
    source: str,
    teacher: Teacher,
    config: AdaptationConfig,
    workspace: Workspace,
    labelled: frozenset[Path] = frozenset(),
) -> Prepared:
    """Choose the images of a run, and put all views of these into its store.

    Args:
        candidates: the images that could be read when the run began.
        source: where they come from, for messages.
        teacher: the matcher that the run begins with.
        config: of the run.
        workspace: of the run.
        labelled: images that somebody labelled, which are neither left out nor kept aside.

    Raises:
        HomologError: too few images are left, one cannot be read, or a file cannot be written.
    """
    store, process = teacher.store, workspace.process
    with workspace.timed("extracting features"):
        gone = _fill_unchanged(candidates, store, workspace)
    with workspace.timed("choosing images"):
        present = [i for i, path in enumerate(candidates.files) if path not in gone]
        paths = [candidates.files[index] for index in present]
        chooser = choosing_teacher(teacher)
        chosen = choose_objects(
            paths,
            lambda index: chooser.descriptor_map(present[index]),
            teacher.config.same_category_threshold,
            teacher.config.sides,
        )
        strange = [each for each in chosen.left_out if each.path not in labelled]
        left_out = process.gather((*gone.values(), *strange))[0]
        check_enough(candidates.without(left_out), source)
        if process.is_main:
            for note in left_out_notes(left_out):
                print(f"note: {note}", file=sys.stderr)
        without = {each.path for each in left_out}
        used = [index for index in present if candidates.files[index] not in without]
        held_aside = _hold_aside(
            [index for index in used if candidates.files[index] not in labelled], config
        )
        training = [index for index in used if index not in held_aside]
    with workspace.timed("extracting features"):
        rotations = config.rotations
        if rotations is None:
            rotations = _vary_in_angle(chooser, training, config, workspace)
        prepared = Prepared(tuple(training), tuple(sorted(held_aside)), left_out, rotations)
        views = [(index, view) for index in prepared.training for view in prepared.views]
        views += [(i, PoseView(pose)) for i in prepared.held_aside for pose in prepared.poses]
        store.fill(views, "extracting features of other views", process)
    return prepared


def _fill_unchanged(
    candidates: ImageSet, store: ImageStore, workspace: Workspace
) -> dict[Path, LeftOut]:
    """Extract all images as they are; those that are gone or changed meanwhile are left out."""

    def changed() -> dict[Path, LeftOut]:
        found = changed_images(candidates, max_pixels=store.matcher.max_pixels)
        return {each.path: each for each in workspace.process.gather(found)[0]}

    resumed = workspace.exists("begun.json")
    gone = changed() if resumed else {}
    workspace.write("begun.json", {})
    while True:
        views = [(i, UNCHANGED) for i, path in enumerate(candidates.files) if path not in gone]
        try:
            store.fill(views, "extracting features", workspace.process)
            return gone
        except HomologError:
            # Other processes do not know of it; they end with this one, and look at the next start.
            if workspace.process.world_size > 1 or (found := changed()).keys() <= gone.keys():
                raise
            gone |= found


def _hold_aside(indices: Sequence[int], config: AdaptationConfig) -> set[int]:
    """Images drawn at random."""
    count = max(_FEWEST_HELD_ASIDE, round(config.held_aside * len(indices)))
    rng = np.random.default_rng([config.seed, 0])
    return set(rng.permutation(indices)[:count].tolist())


def _vary_in_angle(
    chooser: Teacher, training: Sequence[int], config: AdaptationConfig, workspace: Workspace
) -> bool:
    """Whether objects lie at any angle, seen in some pairs of images of one kind."""
    found = describe_images(chooser, training)
    drawn = dataclasses.replace(config.mining, neighbours=0, random_pairs=1)
    rng = np.random.default_rng([config.seed, 1])
    proposed = propose_pairs(found, drawn, rng, same_kind(chooser, training))
    if not proposed:
        return False
    pairs = [(training[a], training[b]) for a, b in proposed]
    some = [pairs[row] for row in sorted(rng.permutation(len(pairs))[:_ANGLE_PAIRS])]
    views = [(a, PoseView(pose)) for a, _ in some for pose in POSE_SETS["rotations"]]
    process = workspace.process
    chooser.store.fill(views, "looking for objects at other angles", process)
    return bool(process.gather(vary_in_angle(chooser, some))[0])
