"""What is known of named keypoints: groups of look-alikes and left-right counterparts."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from homolog.errors import HomologError


@dataclass(frozen=True)
class KeypointSchema:
    """The keypoints of one kind of thing.

    Attributes:
        names: one a keypoint; a keypoint's id is its place here.
        mirror: for each keypoint the id that its place gets when the picture is flipped: left
            paw becomes right paw, and what lies on the symmetry axis stays itself.
        groups: sets of ids that look alike and differ by geometry only, such as the four paws.
        sides_known: whether `mirror` says which is left and which right. Where it does not, points
            are treated as free ones: a flipped picture is of no use to them.

    >>> schema = KeypointSchema.from_names(["nose", "left_eye", "right_eye"])
    >>> schema.mirror
    (0, 2, 1)
    """

    names: tuple[str, ...]
    mirror: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()
    sides_known: bool = True

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(self.mirror) != count or any(
            not 0 <= other < count or self.mirror[other] != index
            for index, other in enumerate(self.mirror)
        ):
            raise HomologError(
                f"mirror: {list(self.mirror)} does not pair up the {count} keypoints: "
                "the counterpart of a counterpart must be the keypoint itself"
            )
        members = [index for group in self.groups for index in group]
        if len(set(members)) != len(members) or any(not 0 <= i < count for i in members):
            raise HomologError(
                f"groups: {self.groups} must name ids from 0 to {count - 1}, each at most once"
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def spair(cls, category: str) -> KeypointSchema:
        """SPair-71k's keypoints of a category, under the data set's own ids.

        The data set numbers its keypoints without naming them, so the names are the ids and the
        sides: `left 5`.

        Raises:
            HomologError: SPair-71k has no such category.
        """
        entry = _lookup(_builtin()["spair"], category, "category")
        sides = ("", "left ", "right ")
        names = [f"{sides[side]}{index}" for index, side in enumerate(entry["side"])]
        return cls._from_pairs(names, entry)

    @classmethod
    def ap10k(cls) -> KeypointSchema:
        """AP-10K's 17 keypoints of four-legged animals."""
        entry = _builtin()["ap10k"]
        return cls._from_pairs(entry["keypoints"], entry)

    @classmethod
    def coco(cls, category: Mapping[str, Any]) -> KeypointSchema:
        """The keypoints of a category in a COCO file.

        Counterparts come from its `flip_indices` or `flip_pairs` where it has them, otherwise
        from the names.

        Raises:
            HomologError: it has no `keypoints`, or `flip_indices` or `flip_pairs` that do not fit
                them.
        """
        names = category.get("keypoints")
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise HomologError(f"category: {category.get('name')!r} has no list of keypoints")
        names = tuple(str(name).strip() for name in names)
        indices, pairs = category.get("flip_indices"), category.get("flip_pairs")
        if indices is None and pairs is None:
            return cls.from_names(names)
        if indices is None:
            return cls(names, *_mirror_of(pairs, len(names)))
        try:
            mirror = tuple(int(index) for index in indices)
        except (TypeError, ValueError):
            raise HomologError(f"flip_indices: got {indices!r}, takes a list of ids") from None
        return cls(names, mirror, _pairs(mirror))

    @classmethod
    def load(cls, name: str) -> KeypointSchema:
        """The schema that a short name means.

        Args:
            name: `ap10k`, `spair:<category>`, or the path of a COCO file, of which the first
                category with keypoints is taken.

        Raises:
            HomologError: it is none of these, or the file cannot be used.
        """
        if name == "ap10k":
            return cls.ap10k()
        if name.startswith("spair:"):
            return cls.spair(name.removeprefix("spair:"))
        try:
            data = json.loads(Path(name).read_text("utf-8"))
            categories = [c for c in data["categories"] if c.get("keypoints")]
            return cls.coco(categories[0])
        except FileNotFoundError:
            raise HomologError(
                f"schema: {name!r} is none of ap10k, spair:<category> or a COCO file"
            ) from None
        except OSError as error:
            raise HomologError(f"schema: cannot read {name}: {error.strerror}") from error
        except (UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError):
            raise HomologError(
                f"schema: {name} is not a COCO file with a category that has keypoints"
            ) from None

    @classmethod
    def from_names(cls, names: Sequence[str]) -> KeypointSchema:
        """A schema in which counterparts are read from the names.

        `left` and `right`, or `l` and `r` standing alone, exchange places: `left_front_paw` and
        `right_front_paw`, `L_Eye` and `R_Eye`, `paw.L` and `paw.R`, `leftEye` and `rightEye`.
        A name without its counterpart, and one without a side, is its own.

        Raises:
            HomologError: a name occurs twice.
        """
        lowered = [name.lower() for name in names]
        if len(set(lowered)) != len(lowered):
            raise HomologError(f"names: {list(names)} name a keypoint twice")
        index = {name: i for i, name in enumerate(lowered)}
        mirror = tuple(index.get(_exchanged(name).lower(), i) for i, name in enumerate(names))
        return cls(tuple(names), mirror, _pairs(mirror))

    @classmethod
    def numbered(cls, count: int) -> KeypointSchema:
        """Keypoints that have numbers only: nobody says which are left and which right."""
        return cls(tuple(map(str, range(count))), tuple(range(count)), (), sides_known=False)

    @classmethod
    def _from_pairs(cls, names: Sequence[str], entry: Mapping[str, Any]) -> KeypointSchema:
        mirror = list(range(len(names)))
        for a, b in entry["mirror_pairs"]:
            mirror[a], mirror[b] = b, a
        return cls(tuple(names), tuple(mirror), tuple(tuple(group) for group in entry["groups"]))

    def resolve(self, ids: Sequence[int | str] | None, count: int) -> tuple[int, ...]:
        """The ids meant for `count` points: numbers or names, or None for all in order.

        Raises:
            HomologError: there are more or fewer than points, one is unknown or named twice.
        """
        if ids is None:
            if count != len(self):
                raise HomologError(
                    f"point_ids: {count} points for {len(self)} keypoints, "
                    "say which they are (ids or names)"
                )
            return tuple(range(count))
        if len(ids) != count:
            raise HomologError(f"point_ids: {len(ids)} ids for {count} points")
        resolved = []
        for given in ids:
            if isinstance(given, str) and not given.isdigit():
                if given not in self.names:
                    raise HomologError(f"point_ids: {given!r} is none of {', '.join(self.names)}")
                resolved.append(self.names.index(given))
                continue
            if not 0 <= int(given) < len(self):
                raise HomologError(f"point_ids: {given} is not within 0..{len(self) - 1}")
            resolved.append(int(given))
        if len(set(resolved)) != len(resolved):
            raise HomologError(f"point_ids: {list(ids)} name a keypoint twice")
        return tuple(resolved)


SIDE_IN_NAME = re.compile(r"left|right|(?<![A-Za-z])[lr](?![A-Za-z])", re.IGNORECASE)
"""The words and single letters by which a keypoint's or bone's name tells its side."""
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _exchanged(name: str) -> str:
    return SIDE_IN_NAME.sub(lambda found: _OTHER[found[0].lower()], name)


def _mirror_of(pairs: Any, count: int) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The mirror and the groups that a COCO category's `flip_pairs` mean."""
    mirror = list(range(count))
    try:
        for a, b in pairs:
            mirror[a], mirror[b] = b, a
    except (TypeError, ValueError, IndexError):
        what = f"takes pairs of ids from 0 to {count - 1}"
        raise HomologError(f"flip_pairs: got {pairs!r}, {what}") from None
    return tuple(mirror), _pairs(mirror)


def _pairs(mirror: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return tuple((i, other) for i, other in enumerate(mirror) if i < other)


@functools.cache
def _builtin() -> dict[str, Any]:
    text = resources.files("homolog").joinpath("assets/keypoint_schemas.json").read_text("utf-8")
    schemas: dict[str, Any] = json.loads(text)
    return schemas


def _lookup(table: Mapping[str, Any], key: str, name: str) -> Any:
    if key not in table:
        raise HomologError(f"{name}: {key!r} is none of {', '.join(table)}")
    return table[key]
