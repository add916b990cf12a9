"""Import paths and names of version 0.1.0, which forward to the new ones with a warning.

Longer than other modules, for most of it is a table.
"""

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
    "homolog.annotate": (
        "homolog.labelling.propagate",
        "homolog.labelling.annotator",
        "homolog.labelling.coco_output",
    ),
    "homolog.attention": ("homolog.networks.attention",),
    "homolog.averaging": ("homolog.applications.averaging",),
    "homolog.calibration": ("homolog.labelling.calibration", "homolog.utils.stats"),
    "homolog.cli.model": ("homolog.cli.options",),
    "homolog.context": ("homolog.networks.context",),
    "homolog.data.combine": ("homolog.data.pairs",),
    "homolog.data.labelled": ("homolog.data.exemplars",),
    "homolog.data.mat": ("homolog.data.formats.mat",),
    "homolog.describer": ("homolog.extractor",),
    "homolog.draw": (
        "homolog.viz.pairs",
        "homolog.viz.charts",
        "homolog.viz.video",
        "homolog.viz.raster",
        "homolog.viz.palette",
    ),
    "homolog.exemplars": ("homolog.labelling.exemplars",),
    "homolog.features.base": ("homolog.backbones.base", "homolog.backbones.registry"),
    "homolog.features.build": ("homolog.features.precompute",),
    "homolog.features.configs": ("homolog.backbones.configs", "homolog.backbones.registry"),
    "homolog.features.dino": ("homolog.backbones.dino",),
    "homolog.features.efficientnet_lite": ("homolog.backbones.efficientnet_lite",),
    "homolog.features.forms": ("homolog.features.codecs",),
    "homolog.features.fused": ("homolog.backbones.fused",),
    "homolog.features.hub": (
        "homolog.backbones.hub",
        "homolog.utils.optional",
        "homolog.utils.tensor_files",
    ),
    "homolog.features.stable_diffusion": ("homolog.backbones.stable_diffusion",),
    "homolog.features.tuning": ("homolog.backbones.adapters",),
    "homolog.files": ("homolog.utils.outputs", "homolog.utils.resume_log"),
    "homolog.geometry": ("homolog.image.geometry", "homolog.image.poses"),
    "homolog.guidance": ("homolog.matching.consensus",),
    "homolog.images": ("homolog.image.reading", "homolog.image.masks"),
    "homolog.kept": ("homolog.utils.lru_cache",),
    "homolog.labels": ("homolog.data.labels",),
    "homolog.losses": ("homolog.training.losses",),
    "homolog.pairing": ("homolog.pair", "homolog.matching.alignment"),
    "homolog.points": ("homolog.image.points",),
    "homolog.pose": ("homolog.matching.imd",),
    "homolog.pose_prediction": ("homolog.evaluation.viewpoint",),
    "homolog.post_processor": ("homolog.networks.post_processor",),
    "homolog.progress": ("homolog.utils.progress",),
    "homolog.report": (
        "homolog.evaluation.report",
        "homolog.evaluation.charts",
        "homolog.evaluation.run",
    ),
    "homolog.scale": ("homolog.labelling.ray",),
    "homolog.serve.compact": ("homolog.serve.compression",),
    "homolog.serve.guard": ("homolog.serve.security",),
    "homolog.serve.pictures": ("homolog.serve.uploads",),
    "homolog.serve.work": ("homolog.serve.jobs",),
    "homolog.sides": ("homolog.networks.sides",),
    "homolog.synth.looks": (
        "homolog.synth.appearance.materials",
        "homolog.synth.appearance.colour",
        "homolog.synth.appearance.noise",
        "homolog.synth.appearance.light",
        "homolog.synth.appearance.backgrounds",
        "homolog.synth.appearance.camera_effects",
    ),
    "homolog.synth.objects": (
        "homolog.synth.distractors",
        "homolog.synth.distractors.primitives",
    ),
    "homolog.synth.poses": ("homolog.synth.posing",),
    "homolog.synth.space": ("homolog.synth.canonical",),
    "homolog.tracking": ("homolog.applications.tracking", "homolog.applications.video"),
    "homolog.training.batches": ("homolog.training.sampler", "homolog.training.samples"),
    "homolog.training.loop": (
        "homolog.training.run",
        "homolog.training.trainer",
        "homolog.training.logs",
        "homolog.training.run_dir",
    ),
    "homolog.training.state": ("homolog.training.checkpoint",),
    "homolog.training.views": ("homolog.training.augmentation",),
    "homolog.types": (
        "homolog.results",
        "homolog.flow",
        "homolog.descriptors",
        "homolog.networks.sides",
    ),
    "homolog.warping": ("homolog.applications.warping",),
    "homolog.weights": ("homolog.checkpoints", "homolog.published"),
}
"""Module of version 0.1.0: where its contents are now."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "homolog": ("homolog.image.geometry", "homolog.image.poses"),
    "homolog.config": ("homolog.presets", "homolog.networks.sides"),
    "homolog.data": ("homolog.data.reading",),
    "homolog.data.check": ("homolog.data.check", "homolog.data.registry"),
    "homolog.data.coco": ("homolog.data.coco", "homolog.data.formats.coco", "homolog.data.reading"),
    "homolog.data.pairs": ("homolog.data.pairs", "homolog.data.reading"),
    "homolog.evaluation": ("homolog.evaluation.predictions", "homolog.evaluation.run"),
    "homolog.features": ("homolog.backbones",),
    "homolog.matching": ("homolog.matching", "homolog.features.foreground"),
    "homolog.synth.dataset": (
        "homolog.synth.dataset",
        "homolog.synth.sample",
        "homolog.synth.annotations",
        "homolog.synth.contact_sheet",
    ),
    "homolog.synth.gltf": (
        "homolog.synth.gltf",
        "homolog.synth.loading",
        "homolog.synth.mesh",
        "homolog.synth.transforms",
    ),
    "homolog.synth.names": ("homolog.synth.names",),
    "homolog.synth.render": ("homolog.synth.render", "homolog.synth.tracer"),
    "homolog.synth.rig": (
        "homolog.synth.rig",
        "homolog.synth.animation",
        "homolog.synth.transforms",
    ),
    "homolog.synth.scene": (
        "homolog.synth.scene",
        "homolog.synth.instances",
    ),
    "homolog.synth.symmetry": ("homolog.synth.symmetry",),
    "homolog.training.sides": ("homolog.training.sides",),
    "homolog.metrics": ("homolog.metrics",),
    "homolog.checkpoints": ("homolog.published",),
}
"""Module that stays: where some of its names are now."""

RENAMED: Mapping[str, Mapping[str, str]] = {
    "homolog": {"Pose": "PoseVariant"},
    "homolog.ahead": {"read_ahead": "prefetch"},
    "homolog.annotate": {"Settings": "AnnotateConfig", "Line": "Record", "Engine": "Executor"},
    "homolog.attention": {"ContextLayer": "TransformerBlock", "places": "sincos_encoding"},
    "homolog.calibration": {"logistic": "fit_logistic"},
    "homolog.cli.model": {"Model": "ModelOptions"},
    "homolog.context": {"ContextProcessor": "AttentionHead"},
    "homolog.data": {"Problems": "ErrorCollector"},
    "homolog.data.check": {"Report": "CheckReport", "recognise": "detect_layout"},
    "homolog.data.coco": {
        "Thing": "Instance",
        "Finder": "ImageFinder",
        "WHERE": "HOMEPAGE",
        "contents": "read_document",
    },
    "homolog.data.combine": {"IndexedPairs": "LazyPairs"},
    "homolog.data.labelled": {"Labelled": "ExemplarSet"},
    "homolog.data.pairs": {
        "Problems": "ErrorCollector",
        "said": "describe_error",
        "listed": "abbreviate",
        "outside": "out_of_bounds",
    },
    "homolog.describer": {"Describer": "DescriptorExtractor"},
    "homolog.draw": {
        "matches": "plot_matches",
        "heatmap": "plot_heatmap",
        "sides": "plot_sides",
        "flow": "plot_flow",
        "errors": "plot_errors",
        "curves": "plot_curves",
        "trails": "draw_tracks",
        "warp": "warp_image",
        "resampled": "sample_along_flow",
        "reduced": "reduced_size",
        "stack": "stack_vertically",
        "save": "save_image",
        "FADED": "UNMATCHED_GREY",
    },
    "homolog.exemplars": {"Found": "KeypointPrediction", "TURNED": "EXEMPLAR_POSES"},
    "homolog.features.build": {"build": "precompute"},
    "homolog.features.forms": {
        "Form": "CodecName",
        "Half": "HalfCodec",
        "Int8": "Int8Codec",
        "Compact": "CompactCodec",
    },
    "homolog.features.hub": {"library": "require", "pretrained": "from_pretrained"},
    "homolog.features.tuning": {"Adapted": "LoRALinear"},
    "homolog.files": {
        "publish": "replace_atomically",
        "claim": "claim_run_dir",
    },
    "homolog.geometry": {"Pose": "PoseVariant", "View": "CanvasTransform"},
    "homolog.guidance": {
        "Guide": "Consensus",
        "GuidanceConfig": "ConsensusConfig",
        "Layout": "AffinePrior",
        "with_surroundings": "neighbourhood_average",
    },
    "homolog.images": {
        "Picture": "LoadedImage",
        "read": "load_image",
        "size": "image_size",
        "find": "find_images",
    },
    "homolog.kept": {"Kept": "LRUCache"},
    "homolog.labels": {"by_hand": "manual_keypoints"},
    "homolog.matching": {
        "sample": "sample_descriptors",
        "window_log_mass": "window_log_prob",
        "scores": "match_confidence",
        "dense": "dense_matches",
        "way_back": "cycle_log_prob",
        "spread": "spread_matches",
        "foreground": "saliency",
        "pair_score": "pair_similarity",
        "thinned_cells": "subsample_cells",
    },
    "homolog.metrics": {
        "Accumulator": "PCKAccumulator",
        "Figure": "Estimate",
        "bootstrap": "bootstrap_ci",
    },
    "homolog.pairing": {
        "Pairing": "ImagePair",
        "counterparts": "mirror_queries",
        "by_facing": "pose_from_heading",
    },
    "homolog.pose": {"weighted_distance": "saliency_weighted_imd"},
    "homolog.pose_prediction": {"PoseReport": "ViewpointReport"},
    "homolog.progress": {"Steps": "ProgressBar"},
    "homolog.report": {"draw_extremes": "plot_best_and_worst", "draw_charts": "plot_pck"},
    "homolog.scale": {"engine": "ray_executor"},
    "homolog.serve.compact": {"Couple": "CompressedPair"},
    "homolog.serve.pictures": {
        "Picture": "StoredImage",
        "Pictures": "ImageStore",
        "TooLarge": "UploadTooLarge",
        "Unknown": "UnknownImage",
        "called": "hide_path",
        "readable": "display_name",
    },
    "homolog.serve.work": {
        "Line": "SerialExecutor",
        "Work": "MatchService",
        "pose_named": "parse_pose",
    },
    "homolog.sides": {
        "SideNetwork": "SideHead",
        "with_sides": "append_sides",
        "certainty": "objectness_confidence",
        "shipped": "load_bundled",
    },
    "homolog.synth.dataset": {
        "Settings": "RenderConfig",
        "picture": "render_sample",
        "without_things": "shows_distractors_only",
        "described": "make_annotation",
        "keypoints": "annotate_keypoints",
        "rle": "encode_rle",
        "sides": "colourise_sides",
    },
    "homolog.synth.gltf": {
        "read": "read_model",
        "matrices": "transform_matrices",
        "composed": "world_transforms",
        "normals": "angle_weighted_normals",
    },
    "homolog.synth.looks": {
        "Coat": "ProceduralMaterial",
        "FURS": "COAT_COLOURS",
        "backdrop": "random_backdrop",
        "blurred": "gaussian_blur",
        "clouds": "fractal_noise",
        "encoded": "linear_to_srgb",
        "fitted": "random_crop",
        "fur": "random_coat_colour",
        "jpeg": "encode_jpeg",
        "linear": "srgb_to_linear",
        "photographed": "apply_camera_effects",
        "surface": "random_texture",
    },
    "homolog.synth.names": {"base_of": "base_name", "group_of": "body_part"},
    "homolog.synth.objects": {"Numbers": "Vector"},
    "homolog.synth.poses": {
        "legs": "find_legs",
        "random_shape": "random_bone_scales",
        "unposable": "posing_error",
    },
    "homolog.synth.render": {"library": "load_embree"},
    "homolog.synth.rig": {
        "about": "axis_rotation",
        "at": "sample_track",
        "sample": "sample_animation",
        "swing": "rotation_between",
        "up": "ancestry",
    },
    "homolog.synth.scene": {
        "Item": "Distractor",
        "Thing": "ModelInstance",
        "stood": "place_on_ground",
    },
    "homolog.synth.space": {"prepare": "build_rigs"},
    "homolog.synth.symmetry": {"symmetry": "symmetry_transform"},
    "homolog.tracking": {"Placed": "FrameTracks", "VIDEOS": "VIDEO_SUFFIXES"},
    "homolog.training.batches": {
        "Group": "Batch",
        "Groups": "BatchSampler",
        "Shown": "Sample",
        "Shows": "SampleLoader",
        "MEMORY": "CACHE_BYTES",
    },
    "homolog.training.sides": {
        "Listing": "RenderedDataset",
        "flipped": "mirrored_images",
        "fused": "add_sides",
        "look": "build_dataset",
        "presence": "fit_presence",
        "read": "read_rendered_dataset",
        "teach": "fit",
    },
    "homolog.training.state": {"Progress": "TrainState"},
    "homolog.training.views": {
        "Showing": "Augmentation",
        "RandomView": "RandomAffineView",
        "Posed": "PoseView",
        "AS_IT_IS": "UNCHANGED",
    },
    "homolog.types": {"PosedFeatures": "DescriptorMap", "is_one_picture": "is_one_image"},
    "homolog.warping": {
        "SIDE": "MAX_SIZE",
        "Rest": "Background",
        "certainty": "flow_opacity",
    },
    "homolog.weights": {
        "sides_of": "load_side_head",
        "backbone_of": "load_backbone",
        "published": "published_config",
        "read_state": "read_checkpoint",
        "from_state": "post_processor_from_state",
        "TUNED": "BACKBONE",
    },
}
"""Old module: names in it that are others now."""


def attribute(module: str, name: str) -> Any:
    """What stood as `name` in `module`, from where it stands now.

    Raises:
        AttributeError: there was no such thing.
    """
    old = f"{module}.{name}"
    if old in MODULES:
        return import_module(old)
    today = RENAMED.get(module, {}).get(name, name)
    places = MODULES.get(module) or NAMES.get(module, ())
    for place in () if name.startswith("__") else places:
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
