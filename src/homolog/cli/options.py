"""Options of all commands that use a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.image.geometry import PoseVariant
    from homolog.matcher import Matcher


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """What finds the points.

    Parameters
    ----------
    preset
        A preset (`homolog backbones` lists them), the folder of a trained model, or a hub's
        owner/name of one.
    poses
        Poses of the first picture to choose from: `none`, `flip`, `rotations`, `all`, or a list
        such as `identity,rotate30`; `none` by default.
    window
        Half-width of the soft-argmax window in cells; -1 for all cells.
    temperature
        Temperature of the soft-argmax.
    device
        Where to compute, such as `cpu` or `cuda`.
    max_pixels
        Refuse pictures with more pixels than this.
    weights
        Folders or hub names to take a foundation model's weights from, if not those the preset
        names.
    prompt
        The text that conditions Stable Diffusion; with data sets, `{category}` in it becomes what
        a picture shows.
    """

    preset: Annotated[str, Parameter(name="--model")] = "embedded"
    poses: str | None = None
    window: int | None = None
    temperature: float | None = None
    device: str | None = None
    max_pixels: int | None = None
    weights: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    prompt: str | None = None

    def matcher(self) -> Matcher:
        """The matcher asked for."""
        from homolog.matcher import Matcher

        options: dict[str, Any] = {"max_pixels": self.max_pixels, "prompt": self.prompt}
        options["weights"] = self.weights or None
        given = {name: value for name, value in options.items() if value is not None}
        matcher = Matcher.from_pretrained(self.preset, device=self.device, **given)
        changes: dict[str, Any] = {}
        if self.window is not None:
            changes["window"] = None if self.window == -1 else self.window
        if self.temperature is not None:
            changes["temperature"] = self.temperature
        return matcher.with_config(**changes)

    def pose_list(self) -> tuple[PoseVariant, ...]:
        """The poses to try."""
        from homolog.image.geometry import POSE_SETS, as_poses

        poses = self.poses or "none"
        return as_poses(poses if poses in POSE_SETS else poses.split(","))
