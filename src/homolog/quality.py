"""Named settings: how closely images are looked at, from the cheapest to the most accurate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from homolog.errors import HomologError
from homolog.matching.refinement import RefinementConfig
from homolog.mirror import check_mirror
from homolog.zoom import Zoom, check_zoom

QualityName = Literal["fast", "default", "best"]
"""The names of the settings."""

ZoomChoice = Literal["auto", "none"] | None
"""`auto` zooms, `none` does not; None leaves it to the setting."""


@dataclass(frozen=True)
class Quality:
    """How closely two images are looked at, each as an argument of `Matcher.pair`.

    Attributes:
        zoom: whether objects that do not fill their images are looked at again, by themselves.
        mirror: whether every image is also looked at mirrored.
        refine: whether matches of points are looked for again, in closer looks.
    """

    zoom: Zoom
    mirror: bool
    refine: bool | RefinementConfig


QUALITIES: Mapping[str, Quality] = {
    "fast": Quality(zoom=None, mirror=False, refine=False),
    "default": Quality(zoom=None, mirror=False, refine=False),
    "best": Quality(zoom="auto", mirror=True, refine=True),
}
"""The settings by their names; docs/how-to/match.md says what each second buys."""


def choose(quality: Any, zoom: Any = None, mirror: Any = None, refine: Any = None) -> Quality:
    """A named setting, in which what is given beside its name has its own way.

    Args:
        quality: `fast`, `default` or `best`.
        zoom: `auto` or `none`; None for that of the setting.
        mirror: True or False; None for that of the setting.
        refine: True, False or how to; None for that of the setting.

    Raises:
        HomologError: there is no setting of this name, or an argument is something else.
    """
    named = QUALITIES.get(quality) if isinstance(quality, str) else None
    if named is None:
        raise HomologError(f"quality: expected {_listed(QualityName)}, got {quality!r}")
    if zoom is None:
        zoom = named.zoom
    elif isinstance(zoom, str) and zoom == "none":
        zoom = None
    check_zoom(zoom)
    mirror = named.mirror if mirror is None else mirror
    check_mirror(mirror)
    return Quality(zoom, bool(mirror), named.refine if refine is None else refine)


def _listed(names: Any) -> str:
    *others, last = get_args(names)
    return f"{', '.join(others)} or {last}"
