"""The report of an adaptation: what was used, what was left out, what was learned, what changed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from homolog.errors import HomologError
from homolog.training.adaptation import examples as choosing
from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.examples import Examples
from homolog.training.adaptation.filtering import failures, kept
from homolog.training.adaptation.images import ImageSet
from homolog.training.adaptation.mining import PseudoMatches
from homolog.training.logs import curve, read_log
from homolog.utils.outputs import write_atomically, write_text_atomically

MATCHES, COMPARED, SIDES, LOSS = "matches.jpg", "before_after.jpg", "sides.jpg", "loss.png"

_NAMED = 3  # images left out that are named, of each kind


@dataclass(frozen=True)
class MinedRound:
    """How many matches were mined in a round, and what became of them.

    Attributes:
        pairs: pairs of images that were matched.
        used_pairs: those of which matches were kept.
        used_images: images in these.
        matches: mined in all pairs.
        kept: of these.
        failed: matches that fail each test of the filter, by its name.
        failed_alone: of these the ones that pass all other tests.
        too_few: matches that pass all tests, in pairs of which too few do.
    """

    pairs: int
    used_pairs: int
    used_images: int
    matches: int
    kept: int
    failed: Mapping[str, int]
    failed_alone: Mapping[str, int]
    too_few: int

    @classmethod
    def of(cls, mined: Iterable[PseudoMatches], config: MiningConfig) -> MinedRound:
        """Count the matches of a round.

        Args:
            mined: of each pair of images.
            config: how they are filtered.
        """
        counts: dict[str, int] = defaultdict(int)
        failed: dict[str, int] = defaultdict(int)
        failed_alone: dict[str, int] = defaultdict(int)
        images: set[int] = set()
        for each in mined:
            tests = failures(each, config)
            together = np.sum(list(tests.values()), axis=0)
            for name, fails in tests.items():
                failed[name] += int(fails.sum())
                failed_alone[name] += int((fails & (together == 1)).sum())
            passed, used = int((together == 0).sum()), int(kept(each, config).sum())
            counts["pairs"] += 1
            counts["matches"] += len(each)
            counts["kept"] += used
            counts["too_few"] += passed - used
            if used:
                counts["used_pairs"] += 1
                images |= {each.source, each.target}
        numbers = {n: counts[n] for n in ("pairs", "used_pairs", "matches", "kept", "too_few")}
        return cls(
            **numbers, used_images=len(images), failed=dict(failed), failed_alone=dict(failed_alone)
        )


@dataclass(frozen=True)
class WeightTrial:
    """A share of the zero-shot similarity that was tried.

    Attributes:
        zero_shot: the share; 1 is the matcher without the new head.
        consistency: share of the points of images held aside that are led back to themselves.
    """

    zero_shot: float
    consistency: float


@dataclass(frozen=True)
class AdaptationReport:
    """What is said of a finished run.

    Attributes:
        source: what was adapted to, as it was given.
        model: the model that the run began with, likewise.
        images: those that were used, also those kept aside, and those left out.
        held_aside: how many were kept aside.
        recognised: how many show an object that the side head knows; None without a side head.
        config: how matches were filtered.
        rounds: of mining.
        trials: of the share of the zero-shot similarity.
        zero_shot: the share that was chosen.
        before: share of the points of images held aside that the matcher of the beginning leads
            to the object in another image and back to themselves.
        after: the same of the adapted matcher.
        sides_tuned: whether the side head was tuned.
        seconds: that each stage took, in their order.
        exemplars: labelled objects that were used as fixed points.
        notes: further sentences.
    """

    source: str
    model: str
    images: ImageSet
    held_aside: int
    recognised: int | None
    config: MiningConfig
    rounds: Sequence[MinedRound]
    trials: Sequence[WeightTrial]
    zero_shot: float
    before: float
    after: float
    sides_tuned: bool
    seconds: Mapping[str, float]
    exemplars: int = 0
    notes: Sequence[str] = ()

    @property
    def is_better(self) -> bool:
        """Whether the adapted matcher is more consistent on images that it was not trained on."""
        return self.after > self.before

    def summary(self) -> str:
        """The outcome in one sentence."""
        before, after = f"{100 * self.before:.1f} %", f"{100 * self.after:.1f} %"
        if self.is_better:
            return (
                f"On {self.held_aside} images kept aside, {after} of the points are led to another "
                f"image's object and back to themselves; {before} were before."
            )
        return (
            f"No better than before: on {self.held_aside} images kept aside, {after} of the points "
            f"are led to another image's object and back to themselves; {before} were before."
        )

    def to_dict(self) -> dict[str, Any]:
        """The same in plain lists and numbers, ready for JSON; of images only how many."""
        return {
            "source": self.source,
            "model": self.model,
            "images": {
                "used": len(self.images.files),
                "held_aside": self.held_aside,
                "recognised": self.recognised,
                "left_out": {kind: len(found) for kind, found in self._left_out().items()},
            },
            "rounds": [asdict(each) for each in self.rounds],
            "weights": [asdict(each) for each in self.trials],
            "zero_shot": self.zero_shot,
            "consistency": {"before": self.before, "after": self.after, "better": self.is_better},
            "sides_tuned": self.sides_tuned,
            "exemplars": self.exemplars,
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }

    def to_markdown(self, drawn: Mapping[str, Sequence[str]] | None = None) -> str:
        """The report in English.

        Args:
            drawn: the names of the drawings that lie beside it, and of the images in each.
        """
        drawn = drawn or {}
        parts = [
            f"# {self.model}, adapted to {self.source}",
            self.summary(),
            *self.notes,
            self._labels_sentence(),
            *self._images_section(),
            *self._matches_section(),
        ]
        if MATCHES in drawn:
            parts += [
                "Pairs of which few, a middling number and many matches are kept (the 10th, 50th "
                "and 90th percentile of those that have any). A kept match has one colour at both "
                "ends; rejected ones are grey. From above: " + "; ".join(drawn[MATCHES]) + ".",
                f"![Pairs of images with their matches]({MATCHES})",
            ]
        parts += self._weights_section()
        if COMPARED in drawn or SIDES in drawn:
            parts.append("## Before and after")
        if COMPARED in drawn:
            parts += [
                "Images kept aside, matched with similar ones: the pairs at the 10th, 50th and "
                "90th percentile of how much the share of points that are led back has grown. A "
                "point is white where its match does not lead back to it. From above: "
                + "; ".join(drawn[COMPARED])
                + ".",
                f"![The same points matched before and after]({COMPARED})",
            ]
        if SIDES in drawn:
            parts += [
                "Images kept aside: those at the 10th, 50th and 90th percentile of how much their "
                "sides have changed. The object's own left is blue, its right is orange. From "
                "above: " + "; ".join(drawn[SIDES]) + ".",
                f"![Sides before and after]({SIDES})",
            ]
        parts.append("## The run")
        if LOSS in drawn:
            parts.append(f"![The training loss by step]({LOSS})")
        rows = [[stage, f"{seconds:,.0f}"] for stage, seconds in self.seconds.items()]
        total = sum(self.seconds.values())
        rows.append(["all", f"{total:,.0f}"])
        parts.append(_table(["stage", "seconds"], rows, numbers=[1]))
        return "\n\n".join(parts) + "\n"

    def _left_out(self) -> dict[str, list[str]]:
        """Reasons why images are left out, with the images' names, by kind."""
        found = defaultdict(list)
        for each in self.images.left_out:
            found[each.kind].append(f"`{each.path.name}`: {each.reason}")
        return found

    def _labels_sentence(self) -> str:
        """What figures on the very images must be told with."""
        if self.exemplars:
            return (
                f"The labels of {self.exemplars:,} objects were used. Figures that are measured on "
                "these objects say nothing; where they are measured on other objects of these very "
                "images, say of the model: *adapted to the judged images*."
            )
        return (
            "No label was used. Where figures are measured on these very images, say of the model: "
            "*adapted to the judged images, without their labels*."
        )

    def _images_section(self) -> list[str]:
        left_out = self._left_out()
        count, dropped = len(self.images.files), len(self.images.left_out)
        text = (
            f"{count:,} images were used. {self.held_aside:,} of these were kept aside: nothing "
            "was learned from them, and the figures above and the weight below are measured on "
            "them."
        )
        if self.recognised is not None:
            text += f" The side head knows the objects of {self.recognised:,} images."
        parts = ["## Images", text]
        if dropped:
            rows = [
                [kind, f"{len(found):,}", "; ".join(found[:_NAMED])]
                for kind, found in left_out.items()
            ]
            parts += [
                f"{dropped:,} images were left out; `images.csv` lists them all.",
                _table(["left out", "images", "such as"], rows, numbers=[1]),
            ]
        return parts

    def _matches_section(self) -> list[str]:
        parts = ["## Matches"]
        for number, each in enumerate(self.rounds, start=1):
            start = "" if len(self.rounds) == 1 else f"Round {number}: "
            parts.append(
                f"{start}{each.pairs:,} pairs of images were matched. Of {each.matches:,} matches, "
                f"{each.kept:,} ({_percent(each.kept, each.matches)}) were kept, in "
                f"{each.used_pairs:,} pairs of {each.used_images:,} images."
            )
            rows = [
                [wanted, *(_percent(n, each.matches) for n in (failed, each.failed_alone[name]))]
                for name, wanted in self._tests().items()
                if (failed := each.failed[name])
            ]
            fewest = f"at least {self.config.fewest} matches of the pair pass the other tests"
            if each.too_few:
                rows.append([fewest, *2 * [_percent(each.too_few, each.matches)]])
            heading = ["a match is kept if", "fail", "fail this test alone"]
            parts.append(_table(heading, rows, numbers=[1, 2]))
        return parts

    def _tests(self) -> dict[str, str]:
        """What each test of the filter asks for."""
        config = self.config
        return {
            "object": "it lies on the other object",
            "cycle": "followed back, it ends where it began, within "
            f"{100 * config.cycle_tolerance:g} % of the object's size",
            "coordinates": "both ends are the same place of the animal, within about "
            f"{50 * config.coordinate_tolerance:g} % of its length",
            "side": "both ends are on the same side of the animal",
            "affine": "the matches around it lead there, too, within "
            f"{100 * config.affine_tolerance:g} % of the object's size",
        }

    def _weights_section(self) -> list[str]:
        rows = []
        for trial in sorted(self.trials, key=lambda each: each.zero_shot):
            chosen = "chosen" if trial.zero_shot == self.zero_shot else ""
            rows.append([f"{trial.zero_shot:.2f}", f"{100 * trial.consistency:.1f}", chosen])
        text = (
            "The similarity of two places is a weighted mean of the zero-shot similarity and that "
            "of the new head. For each weight of the zero-shot similarity, the share of points of "
            "images kept aside that are led back to themselves. At 1.00 the new head has no part"
        )
        text += ", but the side head is tuned:" if self.sides_tuned else ":"
        rows.append(["before", f"{100 * self.before:.1f}", ""])
        if self.zero_shot == 1:
            text = f"With the weight that was chosen the new head has no part. {text}"
        return [
            "## Weight of what was learned",
            text,
            _table(["zero-shot weight", "led back, %", ""], rows, numbers=[0, 1]),
        ]


def write_report(
    folder: Path,
    report: AdaptationReport,
    examples: Examples,
    curves: Mapping[str, Path],
) -> None:
    """Write a report, with drawings of a few examples, whatever the number of images.

    Args:
        folder: of the report; made if it does not exist.
        report: what is said.
        examples: what is drawn.
        curves: folders that have a log of a training, by what was trained.

    Raises:
        HomologError: an image cannot be read, or a file cannot be written.
    """
    from homolog.viz.raster import save_image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot make {folder}: {error.strerror}") from error
    drawings = _draw(report, examples, curves)
    for name, (drawing, _) in drawings.items():
        save_image(drawing, folder / name)
    text = report.to_markdown({name: images for name, (_, images) in drawings.items()})
    write_text_atomically(folder / "report.md", text)
    # The last file: a run that has it is finished.
    plain = json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n"
    write_atomically(folder / "results.json", plain.encode())


def _draw(
    report: AdaptationReport, examples: Examples, curves: Mapping[str, Path]
) -> dict[str, tuple[Image.Image, list[str]]]:
    """The drawings for which there is something to draw, with names of their images, by name."""
    from homolog.viz.adaptation import plot_compared_pairs, plot_compared_sides, plot_mined_pairs
    from homolog.viz.charts import plot_curves
    from homolog.viz.raster import stack_vertically

    drawings: dict[str, tuple[Image.Image, list[str]]] = {}
    mined, names = choosing.mined_pairs(examples)
    if mined:
        drawings[MATCHES] = plot_mined_pairs(mined), names
    compared, names = choosing.compared_pairs(examples)
    if compared:
        drawings[COMPARED] = plot_compared_pairs(compared), names
    sides, names = choosing.compared_sides(examples) if report.sides_tuned else ([], [])
    if sides:
        images, before, after = map(list, zip(*sides, strict=True))
        drawings[SIDES] = plot_compared_sides(images, before, after), names
    charts = [
        plot_curves(
            {name: curve(read_log(log), "loss")},
            "step",
            "loss",
            percent=False,
            title="training loss",
        )
        for name, log in curves.items()
    ]
    if charts:
        drawings[LOSS] = stack_vertically(charts), []
    return drawings


def _percent(count: int, of: int) -> str:
    return f"{100 * count / max(1, of):.1f} %"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    """A table in Markdown; columns of numbers are aligned on the right."""
    rule = ["---:" if column in numbers else "---" for column in range(len(heading))]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heading, rule, *cells])
