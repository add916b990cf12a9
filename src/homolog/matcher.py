"""The matcher: from two images to matching points."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from homolog.descriptors import Features, FeaturesLike
from homolog.errors import HomologError
from homolog.extraction import FeatureExtractor, PosesLike, forget_pixels
from homolog.flow import Flow
from homolog.image.points import PointsLike
from homolog.image.poses import as_poses
from homolog.image.regions import BoxLike
from homolog.keypoints import KeypointSchema, check_flips
from homolog.loading import MaskLike, joined, mirrored
from homolog.matching.refinement import RefinementConfig
from homolog.pair import ImagePair
from homolog.quality import QualityName, ZoomChoice, choose
from homolog.refining import Refiner
from homolog.results import Heatmap, Matches

__all__ = ["Matcher", "PosesLike", "SchemaLike"]

SchemaLike = KeypointSchema | str | os.PathLike[str]


class Matcher(FeatureExtractor):
    """Finds the parts of an object in one image on an object of its kind in another.

    Wherever an image is taken, a path, a `PIL.Image`, an array, a tensor or the `Features` of an
    earlier `extract` will do; with `Features`, nothing is computed twice. `pair` prepares two
    images for each other; `transfer`, `match`, `flow` and `heatmap` are short for `pair` and the
    method of that name.

    Args:
        backbone: makes feature maps of canvases.
        config: everything else.
        max_pixels: refuse image files with more pixels than this.
        cache: keeps the backbone's feature maps on disk.
        network: the trained post-processor, if the configuration has one.
        side_head: the network that tells sides, if the configuration has one.
        name: of the model; by default that of the backbone.
    """

    def pair(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
        schema: SchemaLike | None = None,
    ) -> ImagePair:
        """Two images prepared for each other, to be asked for matches as often as wanted.

        With several `poses` the source is compared in each, and matched in the one with the least
        instance matching distance (adaptive pose alignment, Zhang et al., CVPR 2024); where the
        choice is whether to flip and the model recognises both objects, their headings decide.
        A single pose given as a list, such as `["flip"]`, is used as it is.

        Args:
            image0: the source, the image that points are given on.
            image1: the target, the image that they are looked for in.
            poses: `none`, `flip`, `rotations`, `all`, or a list of poses.
            mask0: the object in the source (a grey image or an array of its size, not zero where
                the object is); with it, poses are compared over the object alone.
            mask1: the object in the target; matches lie on it.
            box0: (x, y, width, height) of the object in the source, in pixels; with a margin around
                it, it fills the canvas.
            box1: of the object in the target, likewise; matches lie in it or in its margin.
            quality: `fast`, `default` or `best` (`homolog.quality`), which says what `zoom`,
                `mirror` and `refine` are where they are not given.
            zoom: `auto` takes a second look at each object that does not fill its image, given by
                its box, its mask, or found, and matches both views together (`homolog.zoom`).
                `none` does not. `Features` of a region are used as they were extracted, with a
                second look or not.
            mirror: whether each image is also looked at mirrored, and both views are matched
                together (`homolog.mirror`); so they are where one image is `Features` of both
                views.
            refine: whether the matches of points are looked for again, near where they were found,
                in closer looks at both images (`homolog.refining`), or how.
            schema: what points mean, or a name or file as for `KeypointSchema.load`; needed to
                match them in a flipped source.

        Raises:
            HomologError: an argument cannot be used, or poses are flipped and the schema does not
                know left from right; the message names the argument.
        """
        if schema is not None and not isinstance(schema, KeypointSchema):
            schema = KeypointSchema.load(schema)
        candidates, files = as_poses(poses), (image0, image1)
        if schema is not None:
            check_flips(schema, candidates)
        chosen = choose(quality, zoom, mirror, refine)
        refiner, look = self.refiner(chosen.refine), chosen.zoom
        both = chosen.mirror or any(isinstance(f, Features) and f.mirror for f in files)
        if look is not None:
            given = box0, mask0, box1, mask1
            image0 = self.loader.whole(image0, "image0", keep=True)
            image1 = self.loader.whole(image1, "image1", keep=True)
            if both:
                image0, image1 = mirrored(image0), mirrored(image1)
            if all(each is None for each in (*given, image0.region, image1.region)):
                box0, box1 = self.find_object(image0), self.find_object(image1)
                # One look at the one object and two at the other are worse than one at each.
                if box0 is None or box1 is None:
                    box0 = box1 = look = None
        # By itself, a mask says where matches lie; only a second look cuts it out.
        cut0, cut1 = (
            None if box is None and look is None else mask
            for mask, box in ((mask0, box0), (mask1, box1))
        )
        source = self.load_image(image0, "image0", box=box0, mask=cut0, zoom=look, mirror=both)
        target = self.load_image(image1, "image1", box=box1, mask=cut1, zoom=look, mirror=both)
        for features, file in zip((source, target), files, strict=True):
            forget_pixels(file, features, features.context or features)
        object0, object1 = source.mask, target.mask
        if mask0 is not None and cut0 is None:
            object0 = self.loader.mask(mask0, source, "mask0")
        if mask1 is not None and cut1 is None:
            object1 = self.loader.mask(mask1, target, "mask1")
        arguments = self.stored_map, candidates, self.config, schema, object0, object1
        if source.context is None and target.context is None:
            return ImagePair(source, target, *arguments, refiner=refiner)
        # What is joined with its whole image only matches what is so, too.
        source, target = (
            joined(each) if each.context is None else each for each in (source, target)
        )
        assert source.context is not None and target.context is not None
        whole = ImagePair(source.context, target.context, *arguments, refiner=refiner)
        return ImagePair(source, target, *arguments, whole, refiner)

    def transfer(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        schema: SchemaLike | None = None,
        point_ids: Sequence[int | str] | None = None,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
    ) -> Matches:
        """Match given points of one image in another: `pair(…).transfer(points, point_ids)`.

        Args:
            image0: the image the points are on.
            image1: the image they are looked for in.
            points: (x, y) in pixels of the first image, K of them.
            schema: what the points mean, as for `pair`; needed for flips.
            point_ids: ids or names of the points in the schema; may be left out if the points
                are all its keypoints in order.
            poses: as for `pair`.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.
            refine: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror, refine=refine, schema=schema,
        )  # fmt: skip
        return pair.transfer(points, point_ids)

    def match(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        max_matches: int = 200,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
        refine: bool | RefinementConfig | None = None,
    ) -> Matches:
        """Mutual nearest neighbours of two images' objects: `pair(…).match(max_matches)`.

        Args:
            image0: the source.
            image1: the target.
            max_matches: how many to return at most.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`; matches lie on it.
            mask1: as for `pair`; matches lie on it.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.
            refine: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror, refine=refine,
        )  # fmt: skip
        return pair.match(max_matches)

    def flow(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Flow:
        """Dense correspondence of two images, both ways: `pair(…).flow()`.

        Args:
            image0: the source.
            image1: the target.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.flow()

    def heatmap(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        points: PointsLike,
        *,
        poses: PosesLike = "none",
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> Heatmap:
        """Where in the second image points of the first could be: `pair(…).heatmap(points)`.

        Args:
            image0: the image the points are on.
            image1: the image they are looked for in.
            points: (x, y) in pixels of the first image, K of them.
            poses: as for `pair`; the points are free.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, poses=poses, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.heatmap(points)

    def distance(
        self,
        image0: FeaturesLike,
        image1: FeaturesLike,
        *,
        mask0: MaskLike | None = None,
        mask1: MaskLike | None = None,
        box0: BoxLike | None = None,
        box1: BoxLike | None = None,
        quality: QualityName = "default",
        zoom: ZoomChoice = None,
        mirror: bool | None = None,
    ) -> float:
        """The instance matching distance of two images as they are: `pair(…).distance()`.

        Args:
            image0: the source.
            image1: the target.
            mask0: as for `pair`.
            mask1: as for `pair`.
            box0: as for `pair`.
            box1: as for `pair`.
            quality: as for `pair`.
            zoom: as for `pair`.
            mirror: as for `pair`.

        Raises:
            HomologError: an argument cannot be used; the message names it.
        """
        pair = self.pair(
            image0, image1, mask0=mask0, mask1=mask1, box0=box0, box1=box1,
            quality=quality, zoom=zoom, mirror=mirror,
        )  # fmt: skip
        return pair.distance()

    def refiner(self, refine: Any) -> Refiner | None:
        """What refines matches on closer looks, or None where that is not wanted.

        Args:
            refine: as for `pair`.

        Raises:
            HomologError: it is something else.
        """
        if isinstance(refine, (bool, np.bool_)):
            if not refine:
                return None
            refine = RefinementConfig()
        if not isinstance(refine, RefinementConfig):
            raise HomologError(f"refine: expected True, False or how to, got {refine!r}")
        return Refiner(self.loader, self._add_poses, self.config.sides, refine)
