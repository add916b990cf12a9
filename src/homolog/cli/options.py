"""Options that several commands share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from homolog.errors import HomologError

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.data import DataSet
    from homolog.features import FeatureCache
    from homolog.image.poses import PoseVariant
    from homolog.keypoints import KeypointSchema
    from homolog.matcher import Matcher
    from homolog.pair import ImagePair
    from homolog.quality import Quality
    from homolog.utils.progress import ProgressBar

SidesOption = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]
"""Sides that somebody tells: pairs `left:right` of names, a file of names and pairs, or `none`."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the images that commands write."""

_log = logging.getLogger(__name__)


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """Options of the model: which one, where it runs, and how it matches.

    Parameters
    ----------
    preset
        A preset (`homolog backbones` lists them), the folder of a trained model, or the
        owner/name of one on a model hub.
    poses
        Poses of the first image to choose from: `none`, `flip`, `rotations`, `all`, or a list
        such as `identity,rotate30`; `none` by default.
    window
        Half-width of the soft-argmax window in cells; -1 for all cells.
    temperature
        Temperature of the soft-argmax.
    device
        Where to compute, such as `cpu` or `cuda`.
    max_pixels
        Refuse images with more pixels than this.
    weights
        Folders or hub names to load a foundation model's weights from, if not those that the
        preset names.
    prompt
        The text that conditions Stable Diffusion; with data sets, `{category}` in it is replaced
        by the category of each image.
    """

    preset: Annotated[str, Parameter(name="--model")] = "embedded"
    poses: str | None = None
    window: int | None = None
    temperature: float | None = None
    device: str | None = None
    max_pixels: int | None = None
    weights: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    prompt: str | None = None

    def matcher(self) -> Matcher:
        """Load the matcher that the options ask for.

        Raises:
            HomologError: an option cannot be used, or weights are missing.
        """
        changes: dict[str, Any] = {}
        if self.window is not None:
            changes["window"] = None if self.window == -1 else self.window
        if self.temperature is not None:
            changes["temperature"] = self.temperature
        given = {"max_pixels": self.max_pixels, "weights": self.weights, "prompt": self.prompt}
        return _load_matcher(self.preset, self.device, **given).with_config(**changes)

    def pose_list(self) -> tuple[PoseVariant, ...]:
        """The poses to choose from.

        Raises:
            HomologError: one is unknown.
        """
        from homolog.image.poses import POSE_SETS, as_poses

        poses = self.poses or "none"
        return as_poses(poses if poses in POSE_SETS else poses.split(","))


@Parameter(name="*")
@dataclass(frozen=True)
class BackboneOptions:
    """Options of the model that training starts from.

    Parameters
    ----------
    preset
        The model whose backbone is used: a preset (`homolog backbones` lists them), a folder, or
        the owner/name of one on a model hub.
    device
        Where to compute, such as `cpu` or `cuda`.
    weights
        Folders or hub names to load a foundation model's weights from, if not those that the
        preset names.
    prompt
        The text that conditions Stable Diffusion; `{category}` in it is replaced by the category
        of each image.
    """

    preset: Annotated[str, Parameter(name="--model")] = "embedded"
    device: str | None = None
    weights: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = ()
    prompt: str | None = None

    def matcher(self, cache: FeatureCache | None = None) -> Matcher:
        """Load the matcher that the options ask for.

        Args:
            cache: keeps its feature maps on disk.

        Raises:
            HomologError: an option cannot be used, or weights are missing.
        """
        given = {"weights": self.weights, "prompt": self.prompt, "cache": cache}
        return _load_matcher(self.preset, self.device, **given)


def _load_matcher(preset: str, device: str | None, **options: Any) -> Matcher:
    """A matcher with its weights; options that are not given are left at their defaults."""
    from homolog.matcher import Matcher

    given = {name: value for name, value in options.items() if value not in (None, ())}
    matcher = Matcher.from_pretrained(preset, device=device, **given)
    _log.info("model %s: %r", preset, matcher)
    return matcher


@Parameter(name="*")
@dataclass(frozen=True)
class PairOptions:
    """Options of the commands that match two images.

    Parameters
    ----------
    pose
        One pose of the first image, used without comparing: `flip`, `rotate90`, ...
    mask0
        A grey image, not black where the object is in the first image.
    mask1
        The same for the second image.
    box0
        The object in the first image, `x,y,width,height` in pixels: it fills the canvas, with a
        margin around it.
    box1
        The same for the second image.
    exhaustive
        Compare every cell with every other where there are more than 100 x 100, which takes
        minutes, rather than coarse to fine.
    """

    pose: str | None = None
    mask0: Path | None = None
    mask1: Path | None = None
    box0: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    box1: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    exhaustive: bool = False

    def poses(self, model: ModelOptions) -> tuple[PoseVariant, ...]:
        """The poses of the first image to choose from.

        Raises:
            HomologError: one is unknown.
        """
        from homolog.image.poses import as_poses

        return model.pose_list() if self.pose is None else as_poses([self.pose])

    def objects(self) -> dict[str, Any]:
        """Where the objects are, as arguments of `Matcher.pair`.

        Raises:
            HomologError: a box is not four numbers.
        """
        return {
            "mask0": self.mask0,
            "mask1": self.mask1,
            "box0": None if self.box0 is None else parse_box(self.box0, "box0"),
            "box1": None if self.box1 is None else parse_box(self.box1, "box1"),
        }

    def prepare(
        self,
        model: ModelOptions,
        image0: Path,
        image1: Path,
        progress: ProgressBar,
        schema: KeypointSchema | None = None,
        **looks: Any,
    ) -> tuple[Matcher, ImagePair]:
        """Load the model, extract the features of both images, and pair them.

        Args:
            model: the model.
            image0: the first image.
            image1: the second image.
            progress: is told what is done.
            schema: what points mean.
            looks: how closely the images are looked at, as arguments of `Matcher.pair`.

        Raises:
            HomologError: an option or an image cannot be used.
        """
        from homolog.keypoints import check_flips

        progress.update("loading the model")
        poses, objects = self.poses(model), self.objects()  # checked before the weights are read
        if schema is not None:
            check_flips(schema, poses)
        matcher = model.matcher()
        if self.exhaustive:
            matcher = matcher.with_config(exhaustive=True)
        progress.update(f"extracting features of {image0}")
        # Both are read before the first is worked on, except by a zoom without boxes, which looks
        # for the objects: a broken file is found at once.
        pair = matcher.pair(image0, image1, poses=poses, schema=schema, **objects, **looks)
        matcher.extract(pair.image0, poses)
        progress.update(f"extracting features of {image1}")
        matcher.extract(pair.image1)
        progress.update("matching")
        _log.info("%r", pair)
        return matcher, pair


@Parameter(name="*")
@dataclass(frozen=True)
class LookOptions:
    """Options of how closely images are looked at.

    Parameters
    ----------
    quality
        `fast`, `default` or `best`: what the options for closer looks are where they are not given.
        `best` is `--zoom auto --mirror`, with `--refine` where there is such an option.
    zoom
        `auto` takes a second look at each object that does not fill its image, given by its box or
        mask, or found, and matches both views together; `none` does not.
    mirror
        Look at every image mirrored, too, and match both views together.
    """

    quality: Literal["fast", "default", "best"] = "default"
    zoom: Literal["auto", "none"] | None = None
    mirror: bool | None = None

    def to_arguments(self) -> dict[str, Any]:
        """The same as arguments of `Matcher.pair`."""
        return {"quality": self.quality, "zoom": self.zoom, "mirror": self.mirror}

    def choose(self, refine: bool | None) -> Quality:
        """What is looked at, for commands that do not ask `Matcher.pair`.

        Args:
            refine: whether matches are looked for again, if that is said.
        """
        from homolog.quality import choose

        return choose(**self.to_arguments(), refine=refine)


@Parameter(name="*")
@dataclass(frozen=True)
class DatasetOptions:
    """Options of data sets: which part of one is read.

    Parameters
    ----------
    split
        spair, ap10k, ap10k-pairs and pf-pascal: `trn`, `val` or `test`; soco and cub: `trn` or
        `test`, of soco all pairs by default.
    category
        spair, spair-u: pairs of this category only.
    subset
        ap10k, ap10k-pairs: `intra-species`, `cross-species` or `cross-family`. soco: `intra` or
        `cross`. mp100: `animal_body_unseen`, `animal_face`, `clothing`, `furniture` or
        `human_face`; all by default. cub: `intra-species` or `random`.
    seed
        ap10k: seed of the sampled pairs.
    exclude
        ap10k: a file of images to skip, an id or a file name on each line.
    single
        ap10k, coco: skip images with several annotated objects.
    first_only
        ap10k: only the first annotated animal of each image, as in the published benchmark.
    manifest
        ap10k: the pairs that this file lists.
    images
        coco: the folder that file names start from. spair-u: the folder of SPair-71k's images.
    sides
        Which keypoints are left and right, where their names do not say so: pairs
        `left_name:right_name`, a file of names and pairs, or `none` where every point is its own
        counterpart.
    """

    split: str | None = None
    category: str | None = None
    subset: str | None = None
    seed: int | None = None
    exclude: Path | None = None
    single: bool = False
    first_only: bool = False
    manifest: Path | None = None
    images: Path | None = None
    sides: SidesOption = ()

    def given(self) -> dict[str, Any]:
        """The options that are not left at their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False, ())}

    def to_arguments(self) -> list[str]:
        """The options as they are written on the command line."""
        arguments = []
        for name, value in self.given().items():
            option = f"--{name.replace('_', '-')}"
            values = value if isinstance(value, tuple) else (value,)
            arguments += [option] if value is True else [option, *map(str, values)]
        return arguments

    def load(self, dataset: str, root: Path) -> DataSet:
        """Read a data set with these options.

        Raises:
            HomologError: there is no such data set, it does not take one of the options, or sides
                are told that it does not have.
        """
        from homolog.data import registry

        options = self.given()
        sides = options.pop("sides", ())
        data = registry.load(dataset, root, **options)
        return data.with_sides(sides) if sides else data


def with_sides(
    categories: Sequence[Mapping[str, Any]], sides: Sequence[str]
) -> list[dict[str, Any]]:
    """Categories of a COCO file with sides as `--sides` tells them, as `flip_indices`.

    Args:
        categories: entries of the file; those without keypoints stay as they are.
        sides: pairs `left:right` of names, the name of a file, or `none`; nothing leaves the
            categories as they are.

    Raises:
        HomologError: something is none of these, or no category has both names of a pair.
    """
    from homolog.keypoints import KeypointSchema, tell_sides

    found = {i: KeypointSchema.coco(c) for i, c in enumerate(categories) if c.get("keypoints")}
    told = tell_sides({str(i): schema for i, schema in found.items()}, sides) if sides else {}
    return [
        {**category, "flip_indices": list(told[str(i)].mirror)}
        if i in found and told and told[str(i)] != found[i]
        else dict(category)
        for i, category in enumerate(categories)
    ]


def read_points(texts: list[str]) -> tuple[Any, list[str] | None]:
    """Read the points of `--points`, written out or in one file; and their names, if any.

    Raises:
        HomologError: a text is not x,y, or the file cannot be read.
    """
    from homolog.image.points import read_points as from_file

    if len(texts) == 1 and (
        Path(texts[0]).suffix in (".csv", ".txt", ".json", ".tsv") or Path(texts[0]).is_file()
    ):
        notes: list[str] = []
        found = from_file(texts[0], notes)
        for line in notes:
            print(f"note: {line}", file=sys.stderr)
        return found
    return [parse_point(text, "points") for text in texts], None


def parse_box(text: str, name: str = "box") -> tuple[float, ...]:
    """Parse a box written as `x,y,width,height`; whether it fits an image is checked with that.

    Raises:
        HomologError: it is not four numbers; the message calls it by `name`.
    """
    try:
        x, y, width, height = (float(part.replace("_", "?")) for part in text.split(","))
    except ValueError:
        raise HomologError(f"{name}: expected x,y,width,height, got {text!r}") from None
    return x, y, width, height


def parse_point(text: str, name: str = "point") -> list[float]:
    """Parse a point written as `x,y`.

    Raises:
        HomologError: it is none; the message calls it by `name`.
    """
    try:
        x, y = (float(part.replace("_", "?")) for part in text.split(","))  # `1_0` is no number
        return [x, y]
    except ValueError:
        raise HomologError(f"{name}: expected x,y, got {text!r}") from None
