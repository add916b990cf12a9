"""Import paths and names of version 0.1.0: they forward to today's with a `DeprecationWarning`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES: Mapping[str, tuple[str, ...]] = {
    "homolog.ahead": ("homolog.utils.prefetch",),
    "homolog.annotate": ("homolog.labelling.propagate",),
    "homolog.attention": ("homolog.networks.attention",),
    "homolog.averaging": ("homolog.applications.averaging",),
    "homolog.calibration": ("homolog.labelling.calibration", "homolog.utils.stats"),
    "homolog.cli.model": ("homolog.cli.options",),
    "homolog.context": ("homolog.networks.context",),
    "homolog.data.coco": ("homolog.data.formats.coco",),
    "homolog.data.labelled": ("homolog.data.exemplars",),
    "homolog.data.mat": ("homolog.data.formats.mat",),
    "homolog.describer": ("homolog.extractor",),
    "homolog.draw": ("homolog.viz.draw",),
    "homolog.exemplars": ("homolog.labelling.exemplars",),
    "homolog.features.base": ("homolog.backbones.base",),
    "homolog.features.build": ("homolog.features.precompute",),
    "homolog.features.configs": ("homolog.backbones.configs",),
    "homolog.features.dino": ("homolog.backbones.dino",),
    "homolog.features.efficientnet_lite": ("homolog.backbones.efficientnet_lite",),
    "homolog.features.forms": ("homolog.features.codecs",),
    "homolog.features.fused": ("homolog.backbones.fused",),
    "homolog.features.hub": ("homolog.backbones.hub", "homolog.utils.optional"),
    "homolog.features.stable_diffusion": ("homolog.backbones.stable_diffusion",),
    "homolog.features.tuning": ("homolog.backbones.adapters",),
    "homolog.files": ("homolog.utils.outputs", "homolog.utils.resume_log"),
    "homolog.geometry": ("homolog.image.geometry",),
    "homolog.guidance": ("homolog.matching.consensus",),
    "homolog.images": ("homolog.image.reading",),
    "homolog.kept": ("homolog.utils.lru_cache",),
    "homolog.labels": ("homolog.data.labels",),
    "homolog.losses": ("homolog.training.losses",),
    "homolog.pairing": ("homolog.pair",),
    "homolog.points": ("homolog.image.points",),
    "homolog.pose": ("homolog.matching.imd",),
    "homolog.pose_prediction": ("homolog.evaluation.viewpoint",),
    "homolog.post_processor": ("homolog.networks.post_processor",),
    "homolog.progress": ("homolog.utils.progress",),
    "homolog.report": ("homolog.evaluation.report",),
    "homolog.scale": ("homolog.labelling.ray",),
    "homolog.serve.compact": ("homolog.serve.compression",),
    "homolog.serve.guard": ("homolog.serve.security",),
    "homolog.serve.pictures": ("homolog.serve.uploads",),
    "homolog.serve.work": ("homolog.serve.jobs",),
    "homolog.sides": ("homolog.networks.sides",),
    "homolog.synth.looks": ("homolog.synth.appearance",),
    "homolog.synth.objects": ("homolog.synth.distractors",),
    "homolog.synth.poses": ("homolog.synth.posing",),
    "homolog.synth.space": ("homolog.synth.canonical",),
    "homolog.tracking": ("homolog.applications.tracking",),
    "homolog.training.batches": ("homolog.training.sampler",),
    "homolog.training.loop": ("homolog.training.trainer",),
    "homolog.training.state": ("homolog.training.checkpoint",),
    "homolog.training.views": ("homolog.training.augmentation",),
    "homolog.types": ("homolog.results", "homolog.networks.sides"),
    "homolog.warping": ("homolog.applications.warping",),
    "homolog.weights": ("homolog.checkpoints",),
    # Packages and modules that stay, but some of whose names have moved.
    "homolog.config": ("homolog.presets", "homolog.networks.sides"),
    "homolog.evaluation": ("homolog.evaluation.predictions",),
    "homolog.features": ("homolog.backbones",),
    "homolog.matching": ("homolog.matching", "homolog.features.foreground"),
}
"""Old module: where what was in it is now."""

RENAMED: Mapping[str, Mapping[str, str]] = {}
"""Old module: names in it that are others now."""


def attribute(module: str, name: str) -> Any:
    """What stood as `name` in `module`, from where it stands now.

    Raises:
        AttributeError: there was no such thing.
    """
    old = f"{module}.{name}"
    if old in MODULES and MODULES[old][0] != old:
        return import_module(old)
    today = RENAMED.get(module, {}).get(name, name)
    for place in () if name.startswith("__") else MODULES.get(module, ()):
        found = import_module(place)
        if today in vars(found):
            warnings.warn(f"{old} is {place}.{today} now", DeprecationWarning, stacklevel=3)
            return vars(found)[today]
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def install() -> None:
    """Let the old modules be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder):
    """Finds modules by their old names; asked last, so that it costs nothing elsewhere."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Forwarder()) if fullname in MODULES else None


class _Forwarder(Loader):
    """Makes modules whose attributes are looked up when they are asked for."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        warnings.warn(
            f"{name} is {' and '.join(MODULES[name])} now", DeprecationWarning, stacklevel=2
        )
        for place in MODULES[name]:
            import_module(place)
        module.__getattr__ = lambda attr: attribute(name, attr)  # type: ignore[method-assign]
