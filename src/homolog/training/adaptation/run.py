"""Adaptation of a matcher to images that nobody labelled, from a folder to a model.

    homolog adapt photos --out model
    torchrun --nproc-per-node 2 -m homolog adapt photos --out model

The folder of a run becomes a model, which `Matcher.from_pretrained` takes. It holds `images.csv`,
which images were used and why others were not, and `report/`. While the run lasts, `work/` holds
what its stages have made; an interrupted run finds that and goes on.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from homolog import checkpoints
from homolog.backbones import DinoConfig
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.errors import HomologError
from homolog.image.poses import POSE_SETS, PoseVariant
from homolog.matcher import Matcher
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.networks.sides import SideHead
from homolog.training.adaptation.choosing import choose_objects
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.filtering import kept
from homolog.training.adaptation.fitting import Head, create_head, fit_head
from homolog.training.adaptation.images import (
    LeftOut,
    changed_images,
    check_enough,
    left_out_notes,
    read_images,
    read_images_csv,
    write_images_csv,
)
from homolog.training.adaptation.masks import find_masks
from homolog.training.adaptation.mined import MinedMatches, mine_pairs
from homolog.training.adaptation.mining import PseudoMatches, mine_pair
from homolog.training.adaptation.mixing import choose_share, cycle_consistency
from homolog.training.adaptation.pairs import (
    ImageDescriptors,
    describe_images,
    pair_score,
    propose_pairs,
    vary_in_angle,
)
from homolog.training.adaptation.report import (
    AdaptationReport,
    Examples,
    MinedRound,
    WeightTrial,
    write_report,
)
from homolog.training.adaptation.sampler import Labels
from homolog.training.adaptation.sides import tune_sides
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher
from homolog.training.augmentation import UNCHANGED, PoseView
from homolog.training.distributed import Process, process_group
from homolog.training.run_dir import REPORT, RESULTS, RUN
from homolog.utils.locks import lock_folder
from homolog.utils.outputs import claim_run_dir, write_atomically
from homolog.utils.serialization import to_plain

IMAGES, WORK = "images.csv", "work"
_DEFAULT = AdaptationConfig()

SHARES = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Weights of the zero-shot similarity that are tried; with the last, the head has no part."""

_FEWEST_HELD_ASIDE = 2
_HELD_ASIDE_PARTNERS, _HELD_ASIDE_PAIRS = 6, 120  # of each image kept aside, and in all
_QUERIES = 100  # points of each image kept aside that are followed there and back
_ANGLE_PAIRS = 40  # pairs of images in which it is seen whether objects lie at any angle
_FEWEST_RECOGNISED = 12  # images of objects that the side head knows, for it to be tuned


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
    def read(cls, folder: Path) -> AdaptationResult:
        """The result of a finished run.

        Args:
            folder: of the run.

        Raises:
            HomologError: it has none, or none that can be read.
        """
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
    out: Path,
    matcher: Matcher,
    config: AdaptationConfig = _DEFAULT,
    *,
    masks: Path | None = None,
) -> AdaptationResult:
    """Adapt a matcher to images without labels; an interrupted run resumes where it stopped.

    With the same images, seed and number of threads, the model is the same to the last bit, however
    often the run is interrupted. In several processes, all share the work.

    Args:
        images: a folder, which is searched with all below; a text file that has a path on each
            line; or several paths of images and folders.
        out: the folder of the model; made if it is not there.
        matcher: what to begin with. A post-processor or side head that it has learns on.
        config: of the run.
        masks: a folder of masks of the objects, each named as its image.

    Returns:
        What came of it. A model that is no better than the one it came from is written, too:
        `AdaptationResult.improved` tells.

    Raises:
        HomologError: there are too few images, or none with consistent matches, the matcher cannot
            be adapted, or the folder holds another run or model, is in use or cannot be written.
    """
    out = Path(out)
    config = _check(matcher, config)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(process_group(matcher.backbone.device))
        if process.is_main:
            _begin(images, out, matcher, config, masks, process, stack)
        process.gather(None)
        if not (out / RESULTS).exists():
            _Run(_source(images), out, matcher, config, process).finish()
        if process.is_main:
            shutil.rmtree(out / WORK, ignore_errors=True)
        return AdaptationResult.read(out)


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
    for name, value in (("rounds", config.rounds), ("steps", config.head.steps)):
        if value < 1:
            raise HomologError(f"{name}: expected at least 1, got {value}")
    kind = config.head.kind
    if kind is None:
        # As in DIY-SC, whose head is for DINOv2.
        kind = "residual" if isinstance(matcher.config.backbone, DinoConfig) else "context"
    return dataclasses.replace(config, head=dataclasses.replace(config.head, kind=kind))


def _source(images: Any) -> str:
    """What was given, in words."""
    if isinstance(images, (str, os.PathLike)):
        return str(images)
    paths = list(images)
    return str(paths[0]) if len(paths) == 1 else f"{len(paths)} paths"


def _begin(
    images: Any,
    out: Path,
    matcher: Matcher,
    config: AdaptationConfig,
    masks: Path | None,
    process: Process,
    stack: contextlib.ExitStack,
) -> None:
    """Lock and claim the folder of a run, and write its list of images if it has none yet.

    The folder is claimed only if there are images to work on.
    """
    if not (out / RUN).exists() and any((out / n).exists() for n in (checkpoints.CONFIG, IMAGES)):
        raise HomologError(
            f"out: expected a folder for this run, got {out}, which holds a model; try another"
        )
    run = {
        "images": _identity(images),
        "masks": None if masks is None else os.path.abspath(masks),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "processes": process.world_size,
        "config": to_plain(config),
    }
    candidates, paths = None, dict[Path, Path]()
    if not (out / WORK / IMAGES).exists() and not (out / RESULTS).exists():
        exclude = [out] if masks is None else [out, masks]
        candidates = read_images(images, max_pixels=matcher.max_pixels, exclude=exclude)
        if masks is not None:
            found = find_masks(candidates.files, masks, max_pixels=matcher.max_pixels)
            paths = {path: mask for path, mask in found.paths.items()}
            candidates = candidates.without(found.left_out)
            candidates = dataclasses.replace(candidates, notes=candidates.notes + found.notes)
            check_enough(candidates, _source(images))
    stack.enter_context(lock_folder(out))
    claim_run_dir(out, run)
    if candidates is None or (out / WORK / IMAGES).exists():
        return
    for note in candidates.notes:
        print(f"note: {note}", file=sys.stderr)
    _make(out / WORK)
    plain = {os.path.abspath(path): os.path.abspath(mask) for path, mask in paths.items()}
    _write_json(out / WORK / "masks.json", plain)
    write_images_csv(out / WORK / IMAGES, candidates)


def _identity(images: Any) -> str:
    """What tells the images of one run from those of another."""
    if isinstance(images, (str, os.PathLike)):
        return os.path.abspath(images)
    paths = [os.path.abspath(path) for path in images]
    if len(paths) == 1:
        return paths[0]
    return hashlib.sha256("\n".join(paths).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, eq=False)
class _Model:
    """A configuration and its networks."""

    config: MatcherConfig
    network: nn.Module | None
    side_head: SideHead | None


@dataclass(frozen=True)
class _Prepared:
    """What was found out about the images.

    Attributes:
        training: indices of the images that are trained on.
        held_aside: of those that are kept aside.
        left_out: candidates that are not used.
        rotations: whether objects lie at any angle.
    """

    training: tuple[int, ...]
    held_aside: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    rotations: bool

    @property
    def poses(self) -> tuple[PoseVariant, ...]:
        """In which the source of a pair is matched."""
        return POSE_SETS["rotations" if self.rotations else "none"]

    @property
    def views(self) -> list[PoseView]:
        """In which an image is trained on."""
        return [PoseView(pose) for pose in POSE_SETS["all" if self.rotations else "flip"]]

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = dataclasses.asdict(self)
        return plain | {"left_out": [[str(each.path), each.reason] for each in self.left_out]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> _Prepared:
        """What `to_plain` gave."""
        return cls(
            tuple(plain["training"]), tuple(plain["held_aside"]),
            tuple(LeftOut(Path(path), reason) for path, reason in plain["left_out"]),
            plain["rotations"],
        )  # fmt: skip


class _Run:
    """A run whose folder is claimed.

    Args:
        source: what is adapted to, in words.
        out: the folder.
        matcher: what to begin with.
        config: of the run.
        process: this process among those of the run.
    """

    def __init__(
        self, source: str, out: Path, matcher: Matcher, config: AdaptationConfig, process: Process
    ):
        self.source = source
        self.out = out
        self.work = out / WORK
        self.matcher = matcher
        self.config = config
        self.process = process
        self.candidates = read_images_csv(self.work / IMAGES)
        plain = json.loads((self.work / "masks.json").read_text("utf-8"))
        self.masks = {Path(image): Path(mask) for image, mask in plain.items()}
        self.start = _Model(matcher.config, matcher.network, matcher.side_head)
        self.store = self._open_store()

    def finish(self) -> None:
        """Run all stages that are not done yet."""
        path = self.work / "prepared.json"
        if not path.exists():
            prepared = self._prepare()
            if self.process.is_main:
                _write_json(path, prepared.to_plain())
            self.process.gather(None)
        self.prepared = _Prepared.from_plain(json.loads(path.read_text("utf-8")))
        model = self.start
        for number in range(1, self.config.rounds + 1):
            model = self._round(number, model)
        self._save(model)

    def _open_store(self) -> ImageStore:
        """The store, which the first process makes before the others open it."""

        def make() -> ImageStore:
            return ImageStore(
                self.work / "store", self.matcher, self.candidates.files, self.config.components
            )

        store = make() if self.process.is_main else None
        self.process.gather(None)
        return store or make()

    def _teacher(self, model: _Model) -> Teacher:
        return Teacher(self.store, model.config, model.network, model.side_head, self.masks)

    # --- the images

    def _prepare(self) -> _Prepared:
        """Extract all views, choose the images, and see whether objects lie at any angle."""
        with self._timed("extracting features"):
            gone = self._fill_unchanged()
        teacher = self._teacher(self.start)
        with self._timed("choosing images"):
            present = [i for i, path in enumerate(self.candidates.files) if path not in gone]
            paths = [self.candidates.files[index] for index in present]
            chosen = choose_objects(paths, lambda i: teacher.descriptor_map(present[i]))
            left_out = (*gone.values(), *chosen.left_out)
            check_enough(self.candidates.without(left_out), self.source)
            if self.process.is_main:
                for note in left_out_notes(left_out):
                    print(f"note: {note}", file=sys.stderr)
            used = [present[index] for index in chosen.indices]
            rng = np.random.default_rng([self.config.seed, 0])
            count = max(_FEWEST_HELD_ASIDE, round(self.config.held_aside * len(used)))
            held_aside = sorted(rng.permutation(used)[:count].tolist())
            training = [index for index in used if index not in held_aside]
        with self._timed("extracting features"):
            rotations = self.config.rotations
            if rotations is None:
                rotations = self._vary_in_angle(teacher, training)
            prepared = _Prepared(tuple(training), tuple(held_aside), left_out, rotations)
            views = [(index, view) for index in training for view in prepared.views]
            views += [(i, PoseView(pose)) for i in held_aside for pose in prepared.poses]
            self.store.fill(views, "extracting features of other views", self.process)
        return prepared

    def _fill_unchanged(self) -> dict[Path, LeftOut]:
        """Extract all images as they are; those that are gone or changed meanwhile are left out."""
        gone = dict[Path, LeftOut]()
        if any((self.work / "store").glob("0*.safetensors")):
            gone = self._changed()
        while True:
            views = [(i, UNCHANGED) for i, p in enumerate(self.candidates.files) if p not in gone]
            try:
                self.store.fill(views, "extracting features", self.process)
                return gone
            except HomologError:
                # Others do not know of it; they end with this one, and the next start looks anew.
                if self.process.world_size > 1 or (found := self._changed()).keys() <= gone.keys():
                    raise
                gone |= found

    def _changed(self) -> dict[Path, LeftOut]:
        """The images that are not any more what they were at the beginning."""
        found = changed_images(self.candidates, max_pixels=self.matcher.max_pixels)
        return {each.path: each for each in self.process.gather(found)[0]}

    def _vary_in_angle(self, teacher: Teacher, training: Sequence[int]) -> bool:
        found = describe_images(teacher, training)
        alike = dataclasses.replace(self.config.mining, neighbours=1, random_pairs=0)
        rng = np.random.default_rng([self.config.seed, 1])
        pairs = [(training[a], training[b]) for a, b in propose_pairs(found, alike, rng)]
        some = [pairs[row] for row in sorted(rng.permutation(len(pairs))[:_ANGLE_PAIRS])]
        views = [(a, PoseView(pose)) for a, _ in some for pose in POSE_SETS["rotations"]]
        self.store.fill(views, "looking for objects at other angles", self.process)
        return bool(self.process.gather(vary_in_angle(teacher, some))[0])

    # --- a round

    def _round(self, number: int, start: _Model) -> _Model:
        """Mine matches, filter them, and train on them; the model after that."""
        folder = self.work / f"round{number}"
        if not (folder / "model" / checkpoints.CONFIG).exists():
            _make(folder)
            self._train(number, start, folder)
            self.process.gather(None)
        name, device = str(folder / "model"), self.matcher.backbone.device
        config, network = checkpoints.load(name, device)
        return _Model(config, network, checkpoints.load_side_head(name, config, device))

    def _train(self, number: int, start: _Model, folder: Path) -> None:
        config, prepared = self.config, self.prepared
        teacher = self._teacher(start)
        with self._timed("matching"):
            mined = self._mine(number, teacher, folder)
            labels = [
                Labels(
                    found.source, found.target, found.source_cells[good], found.target_cells[good]
                )
                for found in mined
                if (good := kept(found, config.mining)).any()
            ]
        seed = config.seed + number - 1
        with self._timed("training the head"):
            network = self._head(start, seed)
            _make(folder / "head")
            fit_head(
                network, labels, self.store, prepared.views, config.head, seed, folder / "head",
                self.process,
            )  # fmt: skip
        side_head = start.side_head
        with self._timed("tuning the side head"):
            recognised = self._recognised(teacher)
            known = [e for e in labels if e.source in recognised and e.target in recognised]
            if side_head is not None and known and self._tunes_sides(recognised):
                side_head = copy.deepcopy(side_head)
                self._tune_sides(side_head, known, seed, folder)
        with self._timed("choosing the weight"):
            teachers = {
                share: self._teacher(_Model(self._mixed(start, share), network, side_head))
                for share in SHARES
            }
            share, found = choose_share(teachers, *self._consistency_arguments(teacher))
        if self.process.is_main:
            means = {f"{tried}": float(each.mean()) for tried, each in found.items()}
            _write_json(folder / "shares.json", means)
            checkpoints.save(
                folder / "model", network, self._mixed(start, share), side_head=side_head
            )

    def _mine(self, number: int, teacher: Teacher, folder: Path) -> MinedMatches:
        config, training = self.config, self.prepared.training
        path = folder / "pairs.json"
        if self.process.is_main and not path.exists():
            found = describe_images(teacher, training)
            rng = np.random.default_rng([config.seed, number, 0])
            pairs = propose_pairs(found, config.mining, rng)
            _write_json(path, [(training[source], training[target]) for source, target in pairs])
        self.process.gather(None)
        proposed = [tuple(pair) for pair in json.loads(path.read_text("utf-8"))]
        mine = partial(self._mine_one, teacher, number)
        return mine_pairs(folder / "matches", proposed, mine, "matching", self.process)

    def _mine_one(
        self, teacher: Teacher, number: int, source: int, target: int
    ) -> PseudoMatches | None:
        least = teacher.config.same_category_threshold
        if least is not None and pair_score(teacher, source, target) < least:
            return None
        rng = np.random.default_rng([self.config.seed, number, source, target])
        queries = self.config.mining.queries
        return mine_pair(teacher, source, target, queries, self.prepared.poses, rng)

    def _head(self, start: _Model, seed: int) -> Head:
        """The head that is trained: that of the matcher before, if it has one."""
        if isinstance(start.network, (AttentionHead, PostProcessor)):
            return copy.deepcopy(start.network).requires_grad_(True)
        return create_head(self.store, self.config.head, seed)

    def _recognised(self, teacher: Teacher) -> set[int]:
        """The images that are trained on whose objects the side head knows."""
        if teacher.side_head is None:
            return set()
        used = self.prepared.training
        return {index for index in used if teacher.recognises(teacher.descriptor_map(index))}

    def _tunes_sides(self, recognised: set[int]) -> bool:
        return self.config.sides.steps > 0 and len(recognised) >= _FEWEST_RECOGNISED

    def _tune_sides(
        self, side_head: SideHead, labels: Sequence[Labels], seed: int, folder: Path
    ) -> None:
        """Tune a side head in the first process; the others take its weights."""
        if self.process.is_main:
            sides = folder / "sides"
            _make(sides)
            tune_sides(side_head, labels, self.store, self.config.sides, seed, folder=sides)
        state = {name: tensor.cpu() for name, tensor in side_head.state_dict().items()}
        side_head.load_state_dict(self.process.gather(state)[0])
        side_head.eval()

    def _mixed(self, start: _Model, share: float) -> MatcherConfig:
        """A configuration with that share of the zero-shot similarity."""
        settings = start.config.post_processor
        if settings is None:
            settings = PostProcessorConfig("descriptors", share, trained_on="pseudo-labels")
        settings = dataclasses.replace(settings, zero_shot=share)
        return dataclasses.replace(start.config, post_processor=settings)

    # --- images kept aside

    def _held_aside_pairs(self, teacher: Teacher) -> list[tuple[int, int]]:
        """Pairs of images kept aside with those most similar to them."""
        used = sorted(self.prepared.training + self.prepared.held_aside)
        found = describe_images(teacher, used)
        plain = ImageDescriptors(found.embeddings, np.zeros_like(found.headings))
        alike = dataclasses.replace(
            self.config.mining, neighbours=_HELD_ASIDE_PARTNERS, random_pairs=0
        )
        rng = np.random.default_rng([self.config.seed, 2])
        held_aside = set(self.prepared.held_aside)
        pairs = [
            (used[source], used[target]) for source, target in propose_pairs(plain, alike, rng)
        ]
        pairs = [pair for pair in pairs if pair[0] in held_aside]
        return [pairs[row] for row in sorted(rng.permutation(len(pairs))[:_HELD_ASIDE_PAIRS])]

    def _consistency_arguments(self, teacher: Teacher) -> tuple[Any, ...]:
        pairs = self._held_aside_pairs(teacher)
        tolerance = self.config.mining.cycle_tolerance
        return pairs, _QUERIES, tolerance, self.prepared.poses, self.config.seed

    # --- the end

    def _save(self, model: _Model) -> None:
        """Measure, and write the model and its report."""
        before, after = self._teacher(self.start), self._teacher(model)
        arguments = self._consistency_arguments(before)
        with self._timed("measuring"):
            consistency = [
                float(cycle_consistency(teacher, *arguments).mean()) for teacher in (before, after)
            ]
        if not self.process.is_main:
            return
        images = self.candidates.without(self.prepared.left_out)
        write_images_csv(self.out / IMAGES, images)
        checkpoints.save(self.out, _head_of(model), model.config, side_head=model.side_head)
        config = self.config
        folders = [self.work / f"round{number}" for number in range(1, config.rounds + 1)]
        mined = [_read_mined(folder) for folder in folders]
        trials = json.loads((folders[-1] / "shares.json").read_text("utf-8"))
        settings = model.config.post_processor
        assert settings is not None, "an adapted model has a head"
        report = AdaptationReport(
            source=self.source,
            model=self.matcher.name,
            images=images,
            held_aside=len(self.prepared.held_aside),
            recognised=None if self.start.side_head is None else len(self._recognised(before)),
            config=config.mining,
            rounds=[MinedRound.of(each, config.mining) for each in mined],
            trials=[WeightTrial(float(share), value) for share, value in trials.items()],
            zero_shot=settings.zero_shot,
            before=consistency[0],
            after=consistency[1],
            sides_tuned=(folders[-1] / "sides").is_dir(),
            seconds=self._seconds(),
            notes=[f"Masks of {len(self.masks):,} images were used."] if self.masks else [],
        )
        examples = Examples(
            before, after, mined[-1], config.mining, arguments[0], self.prepared.poses
        )
        curves = {"head": folders[-1] / "head", "side head": folders[-1] / "sides"}
        curves = {name: folder for name, folder in curves.items() if folder.is_dir()}
        write_report(self.out / REPORT, report, examples, curves)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add up the seconds of a stage, also of those before an interruption."""
        began = time.monotonic()
        yield
        if self.process.is_main:
            seconds = self._seconds()
            seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - began
            _write_json(self.work / "seconds.json", seconds)

    def _seconds(self) -> dict[str, float]:
        path = self.work / "seconds.json"
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def _head_of(model: _Model) -> Head:
    assert isinstance(model.network, (AttentionHead, PostProcessor))
    return model.network


def _read_mined(folder: Path) -> MinedMatches:
    return MinedMatches(folder / "matches")


def _write_json(path: Path, plain: Any) -> None:
    write_atomically(path, (json.dumps(plain, indent=1) + "\n").encode())


def _make(folder: Path) -> None:
    """Make a folder of a run.

    Raises:
        HomologError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot make {folder}: {error.strerror}") from error
