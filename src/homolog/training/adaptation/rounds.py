"""A round of an adaptation: pairs are matched, matches filtered, and networks trained on them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog import checkpoints
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.networks.sides import SideHead
from homolog.networks.upsampler import Upsampler
from homolog.training.adaptation.choosing import choosing_teacher
from homolog.training.adaptation.config import AdaptationConfig
from homolog.training.adaptation.filtering import kept
from homolog.training.adaptation.fitting import Head, create_head, fit_head
from homolog.training.adaptation.fixed_points import FixedPoints, contradicting
from homolog.training.adaptation.mined import MinedMatches, mine_pairs
from homolog.training.adaptation.mining import PseudoMatches, mine_pair
from homolog.training.adaptation.mixing import SHARES, WITHOUT_HEAD, HeldAside, Trials
from homolog.training.adaptation.pairs import (
    describe_images,
    propose_chains,
    propose_pairs,
    same_kind,
)
from homolog.training.adaptation.preparation import Prepared
from homolog.training.adaptation.sampler import Labels
from homolog.training.adaptation.sides import tune_sides
from homolog.training.adaptation.store import ImageStore
from homolog.training.adaptation.teacher import Teacher
from homolog.training.adaptation.workspace import Workspace
from homolog.training.sides.examples import Examples
from homolog.utils.progress import ProgressBar

_PARTNERS, _PAIRS = 6, 120  # of each image kept aside, and in all
_CONFIDENT = 0.3  # share of kept matches from which on a pair may be part of a chain
_FEWEST_RECOGNISED = 12  # images of objects that the side head knows, for it to be tuned


@dataclass(frozen=True, eq=False)
class Model:
    """A matcher's configuration and networks.

    Attributes:
        config: of the matcher.
        network: the head, if there is one.
        side_head: the side head, if there is one.
    """

    config: MatcherConfig
    network: Head | None
    side_head: SideHead | None

    def with_head(self, network: Head, share: float) -> Model:
        """The same with another head.

        Args:
            network: the head.
            share: of the zero-shot similarity.
        """
        settings = self.config.post_processor
        if settings is None:
            settings = PostProcessorConfig("descriptors", trained_on="pseudo-labels")
        settings = dataclasses.replace(settings, zero_shot=share, zero_shot_recognised=None)
        config = dataclasses.replace(self.config, post_processor=settings)
        return Model(config, network, self.side_head)


class Rounds:
    """Runs rounds, each of which begins with the model of the one before.

    Args:
        store: has the images.
        prepared: what is known of them.
        masks: of the objects, by the paths of their images.
        fixed: labelled keypoints, if there are any.
        config: of the run.
        workspace: of the run.
        render: gives rendered examples for a side head, that are mixed in while it is tuned.
    """

    def __init__(
        self,
        store: ImageStore,
        prepared: Prepared,
        masks: Mapping[Path, Path],
        fixed: FixedPoints | None,
        config: AdaptationConfig,
        workspace: Workspace,
        render: Callable[[SideHead], Examples] | None = None,
    ):
        self.store = store
        self.prepared = prepared
        self.masks = masks
        self.fixed = fixed
        self.config = config
        self.workspace = workspace
        self.process = workspace.process
        self.render = render

    def run(self, number: int, start: Model) -> Model:
        """Run a round, or read what it has made if it is done.

        Args:
            number: of the round, from 1.
            start: what it begins with.

        Raises:
            HomologError: no matches are consistent, a loss is not finite, or a file cannot be
                written.
        """
        folder = f"round{number}"
        if not self.workspace.exists(f"{folder}/weights.json"):
            self.workspace.subfolder(folder)
            self._train(number, start)
        chosen = self.trials(number).chosen
        name, device = str(self.workspace.folder / folder / "model"), self.store.basis_CK.device
        config, network = checkpoints.load(name, device)
        assert not isinstance(network, Upsampler), "a round trains a head on the store's own grid"
        model = Model(config, network, checkpoints.load_side_head(name, config, device))
        if chosen == WITHOUT_HEAD:
            settings = start.config.post_processor
            config = dataclasses.replace(config, post_processor=settings)
            model = Model(config, start.network, model.side_head)
        return model

    def teacher(self, model: Model) -> Teacher:
        """What a model makes of the images.

        Args:
            model: its networks and configuration.
        """
        return Teacher(self.store, model.config, model.network, model.side_head, self.masks)

    def held_aside(self, teacher: Teacher) -> HeldAside:
        """Images kept aside, each with others of its kind, which may be trained on.

        Args:
            teacher: tells what is of one kind.
        """
        used, aside = self.prepared.used, set(self.prepared.held_aside)
        seed = self.config.seed
        chooser = choosing_teacher(teacher)
        alike = same_kind(chooser, used)

        def accept(source: int, target: int) -> bool:
            return used[source] in aside and alike(source, target)

        mining, found = self.config.mining, describe_images(chooser, used)
        drawn = dataclasses.replace(mining, neighbours=0, random_pairs=_PARTNERS)
        rng = np.random.default_rng([seed, 2])
        proposed = propose_pairs(found, drawn, rng, accept)
        if not proposed:  # none is of the kind of any other, and the most similar has to do
            nearest = dataclasses.replace(mining, neighbours=1, random_pairs=0)
            proposed = propose_pairs(found, nearest, rng, lambda source, _: used[source] in aside)
        pairs = [(used[source], used[target]) for source, target in proposed]
        chosen = [pairs[row] for row in sorted(rng.permutation(len(pairs))[:_PAIRS])]
        return HeldAside(chosen, self.prepared.poses, seed)

    def trials(self, number: int) -> Trials:
        """The weights that were tried in a round.

        Args:
            number: of the round.
        """
        plain = self.workspace.read(f"round{number}/weights.json")
        return Trials({float(k): v for k, v in plain["consistency"].items()}, plain["chosen"])

    def mined(self, number: int) -> MinedMatches:
        """All matches that a round has mined.

        Args:
            number: of the round.
        """
        return MinedMatches(*self._matches_folders(number))

    def recognised(self, teacher: Teacher) -> set[int]:
        """The images that are used whose objects the side head knows.

        Args:
            teacher: has the side head.
        """
        if teacher.side_head is None:
            return set()
        maps = ((index, teacher.descriptor_map(index)) for index in self.prepared.used)
        return {index for index, found in maps if teacher.recognises(found)}

    def _matches_folders(self, number: int) -> tuple[Path, Path]:
        """Of the matches of pairs, and of those through images between them."""
        folder = self.workspace.folder / f"round{number}"
        return folder / "matches", folder / "chains"

    def _train(self, number: int, start: Model) -> None:
        folder, config = f"round{number}", self.config
        teacher = self.teacher(start)
        with self.workspace.timed("matching"):
            labels = self._labels(self._mine(number, teacher), teacher)
        seed = config.seed + number - 1
        with self.workspace.timed("training the head"):
            head = self._new_head(start, seed)
            curves = self.workspace.subfolder(f"{folder}/head")
            fit_head(
                head, labels, self.store, self.prepared.views, config.head, seed, curves,
                self.process,
            )  # fmt: skip
        with self.workspace.timed("tuning the side head"):
            side_head = self._tuned_sides(start, teacher, labels, seed, f"{folder}/sides")
        with self.workspace.timed("choosing the weight"):
            without = Model(start.config, start.network, side_head)
            trials = self._choose(without, head, teacher)
        if self.process.is_main:
            # The head is kept where it has no part, too: a model has to have some network.
            share = min(trials.chosen, max(SHARES))
            model = without.with_head(head, share)
            checkpoints.save(
                self.workspace.folder / folder / "model", head, model.config, side_head=side_head
            )
        plain = {"consistency": {str(k): v for k, v in trials.consistency.items()}}
        self.workspace.write(f"{folder}/weights.json", plain | {"chosen": trials.chosen})

    def _mine(self, number: int, teacher: Teacher) -> MinedMatches:
        """Matches of all pairs that are proposed and whose objects are alike."""
        config, training, name = self.config, self.prepared.training, f"round{number}/pairs.json"
        if not self.workspace.exists(name):
            chooser = choosing_teacher(teacher)
            found = describe_images(chooser, training)
            rng = np.random.default_rng([config.seed, number, 0])
            alike = same_kind(chooser, training)
            with ProgressBar(len(training)) as progress:

                def accept(source: int, target: int) -> bool:
                    progress.update("proposing pairs", source)
                    return alike(source, target)

                proposed = propose_pairs(found, config.mining, rng, accept)
            self.workspace.write(name, [(training[a], training[b]) for a, b in proposed])
        pairs = [(source, target) for source, target in self.workspace.read(name)]
        queries, poses = config.mining.queries, self.prepared.poses

        def mine(source: int, target: int) -> PseudoMatches:
            rng = np.random.default_rng([config.seed, number, source, target])
            return mine_pair(teacher, source, target, queries, poses, rng)

        direct, through = self._matches_folders(number)
        mined = mine_pairs(direct, pairs, mine, "matching", self.process)
        if not config.mining.chains:
            return mined
        shares = {(m.source, m.target): float(kept(m, config.mining).mean()) for m in mined}
        between = {(s, t): way for s, way, t in propose_chains(shares, _CONFIDENT)}

        def mine_chain(source: int, target: int) -> PseudoMatches:
            way = between[source, target]
            rng = np.random.default_rng([config.seed, number, source, target, way])
            return mine_pair(teacher, source, target, queries, poses, rng, way)

        mine_pairs(through, list(between), mine_chain, "matching through others", self.process)
        return MinedMatches(direct, through)

    def _labels(self, mined: MinedMatches, teacher: Teacher) -> list[Labels]:
        """The matches that are kept, and those that are known."""
        good = [kept(found, self.config.mining) for found in mined]
        known: Sequence[Labels] = ()
        if self.fixed is not None:
            wrong = contradicting(mined, good, self.fixed, teacher, self.config.mining)
            good = [own & ~other for own, other in zip(good, wrong, strict=True)]
            known = self.fixed.labels
        found = (
            Labels(each.source, each.target, each.source_cells[own], each.target_cells[own])
            for each, own in zip(mined, good, strict=True)
            if own.any()
        )
        return [*found, *known]

    def _new_head(self, start: Model, seed: int) -> Head:
        """What is trained: the head of the model before, if it has one."""
        if start.network is not None:
            return copy.deepcopy(start.network).requires_grad_(True)
        return create_head(self.store, self.config.head, seed, self.prepared.training)

    def _tuned_sides(
        self, start: Model, teacher: Teacher, labels: Sequence[Labels], seed: int, folder: str
    ) -> SideHead | None:
        """The side head, tuned in the first process where it knows the objects of some images."""
        known = self.recognised(teacher)
        labels = [e for e in labels if e.source in known and e.target in known]
        config = self.config.sides
        if (
            start.side_head is None
            or not labels
            or config.steps == 0
            or len(known) < _FEWEST_RECOGNISED
        ):
            return start.side_head
        side_head = copy.deepcopy(start.side_head)
        if self.process.is_main:
            curves = self.workspace.subfolder(folder)
            renders = None if self.render is None else self.render(side_head)
            tune_sides(side_head, labels, self.store, config, seed, renders, curves)
        state = {name: tensor.cpu() for name, tensor in side_head.state_dict().items()}
        side_head.load_state_dict(self.process.gather(state)[0])
        return side_head.eval()

    def _choose(self, without: Model, head: Head, teacher: Teacher) -> Trials:
        """The weight of the zero-shot similarity with the most consistent matches."""
        models = {share: without.with_head(head, share) for share in SHARES}
        models[WITHOUT_HEAD] = without
        held_aside = self.held_aside(teacher)
        found = {
            share: held_aside.consistency(
                self.teacher(model), f"choosing the weight, {share:g}", self.process
            )
            for share, model in models.items()
        }
        candidates = [*SHARES]
        if without.network is not None or without.side_head is not None:
            candidates.append(WITHOUT_HEAD)
        return Trials.of(found, candidates)
