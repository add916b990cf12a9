"""Adaptation of a matcher to images that nobody labelled, from a folder to a model.

    homolog adapt photos --out model
    torchrun --nproc-per-node 2 -m homolog adapt photos --out model

The folder of a run becomes a model, which `Matcher.from_pretrained` takes. It holds `images.csv`,
which images were used and why others were not, and `report/`. While the run lasts, `work/` holds
what its stages have made; an interrupted run finds that and goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from homolog import checkpoints
from homolog.backbones import DinoConfig
from homolog.data.exemplars import ExemplarSet
from homolog.data.pairs import Annotation
from homolog.errors import HomologError
from homolog.matcher import Matcher
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.sides import SideHead
from homolog.training.adaptation.beginning import (
    IMAGES,
    MASKS,
    WORK,
    Beginning,
    as_source,
    describe_source,
    identify_source,
)
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.examples import Examples
from homolog.training.adaptation.fixed_points import FixedPoints, digest, labelled_objects
from homolog.training.adaptation.images import (
    ImageSet,
    changed_images,
    check_enough,
    left_out_notes,
    read_images_csv,
    write_images_csv,
)
from homolog.training.adaptation.preparation import Prepared, prepare
from homolog.training.adaptation.report import (
    AdaptationReport,
    MinedRound,
    WeightTrial,
    write_report,
)
from homolog.training.adaptation.rounds import Model, Rounds
from homolog.training.adaptation.sides import rendered_examples
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher
from homolog.training.adaptation.workspace import Workspace
from homolog.training.distributed import process_group
from homolog.training.run_dir import REPORT, RESULTS
from homolog.training.sides.examples import Examples as SideExamples
from homolog.training.sides.rendered import read_rendered_dataset
from homolog.utils.locks import lock_folder
from homolog.utils.outputs import claim_run_dir
from homolog.utils.serialization import to_plain

_PREPARED = "prepared.json"
_DEFAULT = AdaptationConfig()


@dataclass(frozen=True)
class AdaptationResult:
    """What came of an adaptation.

    Attributes:
        folder: of the model.
        used: images that were used.
        left_out: images that were not; `images.csv` says why.
        zero_shot: share of the zero-shot similarity in the similarity of two descriptors.
        cycle_before: share of points, of images kept aside, that the matcher led to another image
            and back to themselves.
        cycle_after: the same of the adapted matcher.
        notes: which images were left out or passed over, a line for each kind of reason.
    """

    folder: Path
    used: int
    left_out: int
    zero_shot: float
    cycle_before: float
    cycle_after: float
    notes: tuple[str, ...] = ()

    @property
    def improved(self) -> bool:
        """Whether the adapted matcher is more consistent than the one that it came from."""
        return self.cycle_after > self.cycle_before

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> AdaptationResult:
        """The result of a finished run.

        Args:
            folder: of the run.

        Raises:
            HomologError: it has none, or none that can be read.
        """
        folder = Path(folder)
        path = folder / RESULTS
        try:
            plain = json.loads(path.read_text("utf-8"))
            images, consistency = plain["images"], plain["consistency"]
            notes = left_out_notes(read_images_csv(folder / IMAGES).left_out)
            return cls(
                folder, images["used"], sum(images["left_out"].values()), plain["zero_shot"],
                consistency["before"], consistency["after"], tuple(notes),
            )  # fmt: skip
        except OSError as error:
            raise HomologError(f"out: cannot read {path}: {error.strerror}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, HomologError):
                raise
            raise HomologError(f"out: expected the results of a run, got {path}: {error}") from None


def adapt(
    images: Any,
    out: Any,
    matcher: Any,
    config: Any = _DEFAULT,
    *,
    masks: Any = None,
    exemplars: Any = None,
    renders: Any = None,
    held_out: Collection[str] = (),
) -> AdaptationResult:
    """Adapt a matcher to images without labels; an interrupted run resumes where it stopped.

    With the same images, seed and number of threads, the model is the same to the last bit, however
    often the run is interrupted. In several processes, all share the work.

    Args:
        images: a folder, which is searched with all below; a text file that has a path on each
            line; or several paths of images and folders.
        out: the path of the model's folder; made if it is not there.
        matcher: the `Matcher` to begin with. A post-processor or side head that it has learns on.
        config: the `AdaptationConfig` of the run.
        masks: the path of a folder of masks of the objects, each named as its image.
        exemplars: an `ExemplarSet` of labelled objects, whose keypoints are known matches; their
            images are used, too.
        renders: the path of a rendered set, as `homolog synth` writes it, that is mixed in while
            the side head is tuned, so that it does not forget other kinds of objects.
        held_out: 3D models of that set whose images are not used.

    Returns:
        What came of it. A model that is no better than the one it came from is written, too:
        `AdaptationResult.improved` tells.

    Raises:
        HomologError: there are too few images, or none with consistent matches, the matcher cannot
            be adapted, an argument cannot be used, or the folder holds another run or model, is in
            use or cannot be written.
    """
    source = as_source(images)
    out, masks, renders = (
        _as_path(value, name)
        for value, name in ((out, "out"), (masks, "masks"), (renders, "renders"))
    )
    if out is None:
        raise HomologError("out: expected the path of a folder, got None")
    if not isinstance(matcher, Matcher):
        raise HomologError(f"matcher: expected a Matcher, got {matcher!r}")
    if not isinstance(config, AdaptationConfig):
        raise HomologError(f"config: expected an AdaptationConfig, got {config!r}")
    if exemplars is not None and not isinstance(exemplars, ExemplarSet):
        raise HomologError(f"exemplars: expected an ExemplarSet, got {exemplars!r}")
    config = _check(matcher, config)
    rendered = None
    if renders is not None:
        if matcher.side_head is None:
            raise HomologError("renders: expected none for a model without a side head")
        rendered = read_rendered_dataset(renders)
        rendered.check_held_out(held_out, "held_out")
    labelled, notes = ([], []) if exemplars is None else labelled_objects(exemplars)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(process_group(matcher.backbone.device))
        if process.is_main:
            run = {
                "images": identify_source(source),
                "masks": None if masks is None else os.path.abspath(masks),
                "exemplars": None if exemplars is None else digest(labelled),
                "renders": None if rendered is None else [rendered.fingerprint(), sorted(held_out)],
                "model": to_plain(matcher.config),
                "weights": matcher.weights_digest,
                "processes": process.world_size,
                "config": to_plain(config),
            }
            begin = Beginning(source, out, matcher.max_pixels, masks, labelled)
            begin.check_folder(run)
            candidates = None if begin.is_done else begin.read()
            stack.enter_context(lock_folder(out))
            claim_run_dir(out, run)
            if candidates is not None and not begin.is_done:
                begin.write(*candidates, notes)
        if not process.gather((out / RESULTS).exists())[0]:
            workspace = Workspace(out / WORK, process)
            render = None
            if rendered is not None:
                zero_shot = matcher.with_config(post_processor=None, sides=None)
                render = partial(rendered_examples, rendered, held_out, zero_shot, config.seed)
            _run(describe_source(source), out, matcher, config, workspace, labelled, render)
        if process.is_main:
            shutil.rmtree(out / WORK, ignore_errors=True)
        process.gather(None)
        return AdaptationResult.read(out)


def _as_path(value: Any, name: str) -> Path | None:
    """A path that somebody gave, or None.

    Raises:
        HomologError: it is neither.
    """
    if value is None or isinstance(value, Path):
        return value
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise HomologError(f"{name}: expected the path of a folder, got {value!r}")
    return Path(value)


def _check(matcher: Matcher, config: AdaptationConfig) -> AdaptationConfig:
    """Refuse what cannot be adapted, and settle the kind of the head.

    Raises:
        HomologError: the matcher or the configuration does not allow it.
    """
    settings = matcher.config.post_processor
    if settings is not None and settings.input == "maps":
        raise HomologError(
            "model: expected a zero-shot model, or one with a post-processor of descriptors, got "
            "one with a post-processor of feature maps; try the model that it was trained from"
        )
    if settings is not None and settings.tuning is not None:
        raise HomologError(
            "model: expected one whose backbone is as published, got one with a fine-tuned "
            "backbone; try the model that it was trained from"
        )
    matcher.config.resolve_prompt(None)
    for name, value, least in (
        ("rounds", config.rounds, 1), ("steps", config.head.steps, 1),
        ("components", config.components, 1), ("training_seed", config.seed, 0),
    ):  # fmt: skip
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value < 2**63:
            raise HomologError(f"{name}: expected a whole number of at least {least}, got {value}")
    if not 0 < config.held_aside <= 0.5:
        raise HomologError(
            f"held_aside: expected a share above 0 and of at most 0.5, got {config.held_aside}"
        )
    kind = config.head.kind
    if kind is None:
        # As in DIY-SC, whose head is for DINOv2.
        kind = "residual" if isinstance(matcher.config.backbone, DinoConfig) else "context"
    return dataclasses.replace(config, head=dataclasses.replace(config.head, kind=kind))


def _run(
    source: str,
    out: Path,
    matcher: Matcher,
    config: AdaptationConfig,
    workspace: Workspace,
    labelled: list[Annotation],
    render: Callable[[SideHead], SideExamples] | None,
) -> None:
    """Run all stages that are not done yet, and write the model and its report."""
    store, candidates = _open_store(source, matcher, config, workspace)
    masks = {Path(image): Path(mask) for image, mask in workspace.read(MASKS).items()}
    network = matcher.network
    assert network is None or isinstance(network, (AttentionHead, PostProcessor))
    # What makes scores probabilities was fitted to other descriptors.
    begun = dataclasses.replace(matcher.config, score_calibration=None)
    start = Model(begun, network, matcher.side_head)
    teacher = Teacher(store, start.config, start.network, start.side_head, masks)
    if not workspace.exists(_PREPARED):
        own = {annotation.path.resolve() for annotation in labelled}
        paths = frozenset(path for path in candidates.files if path.resolve() in own)
        found = prepare(candidates, source, teacher, config, workspace, paths)
        workspace.write(_PREPARED, found.to_dict())
    prepared = Prepared.from_dict(workspace.read(_PREPARED))
    trained = {candidates.files[index].resolve() for index in prepared.training}
    own_labels = [each for each in labelled if each.path.resolve() in trained]
    fixed = FixedPoints(own_labels, store) if own_labels else None
    rounds = Rounds(store, prepared, masks, fixed, config, workspace, render)
    model = start
    for number in range(1, config.rounds + 1):
        model = rounds.run(number, model)
    with workspace.timed("measuring"):
        held_aside = rounds.held_aside(teacher)
        before, after = (
            held_aside.consistency(rounds.teacher(each), "measuring", workspace.process)
            for each in (start, model)
        )
    if not workspace.process.is_main:
        return
    images = candidates.without(prepared.left_out)
    write_images_csv(out / IMAGES, images)
    checkpoints.save(out, model.network, model.config, side_head=model.side_head)
    trials = rounds.trials(config.rounds)
    report = AdaptationReport(
        source=source,
        model=matcher.name,
        images=images,
        held_aside=len(prepared.held_aside),
        recognised=None if start.side_head is None else len(rounds.recognised(teacher)),
        config=config.mining,
        rounds=[
            MinedRound.of(rounds.mined(number), config.mining)
            for number in range(1, config.rounds + 1)
        ],
        trials=[WeightTrial(share, value) for share, value in trials.consistency.items()],
        zero_shot=trials.chosen,
        before=before,
        after=after,
        sides_tuned=_folder(workspace, config, "sides").is_dir(),
        exemplars=0 if fixed is None else len(fixed.keypoints),
        seconds=workspace.seconds(),
        notes=[f"Masks of {len(masks):,} images were used."] if masks else [],
    )
    examples = Examples(
        before=teacher,
        after=rounds.teacher(model),
        mined=rounds.mined(config.rounds),
        config=config.mining,
        held_aside=held_aside.pairs,
        poses=prepared.poses,
    )
    curves = {
        name: folder
        for name, stage in (("head", "head"), ("side head", "sides"))
        if (folder := _folder(workspace, config, stage)).is_dir()
    }
    write_report(out / REPORT, report, examples, curves)


def _folder(workspace: Workspace, config: AdaptationConfig, stage: str) -> Path:
    """The folder of a training in the last round."""
    return workspace.folder / f"round{config.rounds}" / stage


def _open_store(
    source: str, matcher: Matcher, config: AdaptationConfig, workspace: Workspace
) -> tuple[ImageStore, ImageSet]:
    """The store and its images. The first process makes it before the others open it.

    Images that are gone or have changed before it is made are left out.
    """
    path = workspace.folder / IMAGES

    def make(images: ImageSet) -> ImageStore:
        return ImageStore(workspace.folder / "store", matcher, images.files, config.components)

    if workspace.process.is_main:
        images, store = read_images_csv(path), None
        while store is None:
            try:
                store = make(images)
            except HomologError:
                changed = changed_images(images, max_pixels=matcher.max_pixels)
                if not changed:
                    raise
                images = images.without(changed)
                check_enough(images, source)
                write_images_csv(path, images)
                for note in left_out_notes(changed):
                    print(f"note: {note}", file=sys.stderr)
    workspace.process.gather(None)
    images = read_images_csv(path)
    return make(images), images
