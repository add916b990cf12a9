"""Keypoint schemas: names, left-right counterparts, and groups of keypoints that look alike."""

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
    """The keypoints of one category of objects.

    Attributes:
        names: the keypoints' names; a keypoint's id is its index here.
        mirror: for each keypoint the id of its mirror counterpart, which it becomes when the image
            is flipped: the left paw becomes the right one, and a keypoint on the symmetry axis is
            its own counterpart.
        groups: sets of ids that look alike and differ in their position only, such as the four
            paws.
        sides_known: whether `mirror` tells left from right. If not, the keypoints are treated as
            points without names, for which a flipped image is of no use.

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
                f"mirror: expected counterparts of {count} keypoints, where the counterpart of a "
                f"counterpart is the keypoint itself, got {list(self.mirror)}"
            )
        members = [index for group in self.groups for index in group]
        if len(set(members)) != len(members) or any(not 0 <= i < count for i in members):
            raise HomologError(
                f"groups: expected ids from 0 to {count - 1}, each at most once, got {self.groups}"
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def spair(cls, category: str) -> KeypointSchema:
        """SPair-71k's keypoints of a category, with the data set's own ids.

        The data set numbers its keypoints without naming them, so a name is the id and, where
        there is one, the side: `left 5`.

        Raises:
            HomologError: SPair-71k has no such category.
        """
        entry = _lookup(builtin_schemas()["spair"], category, "category")
        sides = ("", "left ", "right ")
        names = [f"{sides[side]}{index}" for index, side in enumerate(entry["side"])]
        return cls._from_pairs(names, entry)

    @classmethod
    def ap10k(cls) -> KeypointSchema:
        """AP-10K's 17 keypoints of four-legged animals."""
        entry = builtin_schemas()["ap10k"]
        return cls._from_pairs(entry["keypoints"], entry)

    @classmethod
    def coco(cls, category: Mapping[str, Any]) -> KeypointSchema:
        """The keypoints of a category in a COCO file.

        Counterparts come from its `flip_indices` or `flip_pairs` if it has them, otherwise from
        the names.

        Args:
            category: an entry of the file's `categories`.

        Raises:
            HomologError: it has no `keypoints`, or `flip_indices` or `flip_pairs` that do not fit
                them.
        """
        names = category.get("keypoints")
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise HomologError(
                f"category: expected a list of keypoints in {category.get('name')!r}, got {names!r}"
            )
        names = tuple(str(name).strip() for name in names)
        indices, pairs = category.get("flip_indices"), category.get("flip_pairs")
        if indices is None and pairs is None:
            return cls.from_names(names)
        if indices is None:
            return cls(names, *_mirror_of(pairs, len(names)))
        try:
            mirror = tuple(int(index) for index in indices)
        except (TypeError, ValueError):
            raise HomologError(f"flip_indices: expected a list of ids, got {indices!r}") from None
        return cls(names, mirror, _counterparts(mirror))

    @classmethod
    def load(cls, name: str) -> KeypointSchema:
        """The schema of a given name or file.

        Args:
            name: `ap10k`, `spair:<category>`, or the path of a COCO file, whose first category
                with keypoints is used.

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
                f"schema: expected ap10k, spair:<category> or a COCO file, got {name!r}"
            ) from None
        except OSError as error:
            raise HomologError(f"schema: cannot read {name}: {error.strerror}") from error
        except (UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError):
            raise HomologError(
                f"schema: expected a COCO file with a category that has keypoints, got {name}"
            ) from None

    @classmethod
    def from_names(cls, names: Sequence[str]) -> KeypointSchema:
        """A schema whose mirror counterparts are read from the names.

        Two keypoints are counterparts if their names differ by `left` and `right`, or by `l` and
        `r` standing alone: `left_front_paw` and `right_front_paw`, `L_Eye` and `R_Eye`, `paw.L`
        and `paw.R`, `leftEye` and `rightEye`. All others are their own counterparts.

        Raises:
            HomologError: a name occurs twice.
        """
        lowered = [name.lower() for name in names]
        if len(set(lowered)) != len(lowered):
            raise HomologError(f"names: expected each keypoint once, got {list(names)}")
        index = {name: i for i, name in enumerate(lowered)}
        mirror = tuple(index.get(_other_side(name).lower(), i) for i, name in enumerate(names))
        return cls(tuple(names), mirror, _counterparts(mirror))

    @classmethod
    def numbered(cls, count: int) -> KeypointSchema:
        """Keypoints without names, of which it is not known which are left and which right."""
        return cls(tuple(map(str, range(count))), tuple(range(count)), (), sides_known=False)

    @classmethod
    def _from_pairs(cls, names: Sequence[str], entry: Mapping[str, Any]) -> KeypointSchema:
        mirror = list(range(len(names)))
        for a, b in entry["mirror_pairs"]:
            mirror[a], mirror[b] = b, a
        return cls(tuple(names), tuple(mirror), tuple(tuple(group) for group in entry["groups"]))

    def resolve(self, ids: Sequence[int | str] | None, count: int) -> tuple[int, ...]:
        """The keypoints that some points stand for, as ids.

        Args:
            ids: an id or a name for each point; None for all keypoints in order.
            count: number of points.

        Raises:
            HomologError: their number differs from that of the points, or one is unknown or there
                twice.
        """
        if ids is None:
            if count != len(self):
                raise HomologError(
                    f"point_ids: expected a point for each of {len(self)} keypoints, got {count}; "
                    "try saying which they are, by ids or names"
                )
            return tuple(range(count))
        if len(ids) != count:
            raise HomologError(f"point_ids: expected {count}, one for each point, got {len(ids)}")
        resolved = []
        for given in ids:
            if isinstance(given, str) and not given.isdigit():
                if given not in self.names:
                    known = ", ".join(self.names)
                    raise HomologError(f"point_ids: expected one of {known}, got {given!r}")
                resolved.append(self.names.index(given))
                continue
            if not 0 <= int(given) < len(self):
                raise HomologError(f"point_ids: expected 0 to {len(self) - 1}, got {given}")
            resolved.append(int(given))
        if len(set(resolved)) != len(resolved):
            raise HomologError(f"point_ids: expected each keypoint once, got {list(ids)}")
        return tuple(resolved)


SIDE_IN_NAME = re.compile(r"left|right|(?<![A-Za-z])[lr](?![A-Za-z])", re.IGNORECASE)
"""The words and single letters by which a keypoint's or bone's name tells its side."""
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _other_side(name: str) -> str:
    """The name of the keypoint on the other side; the same if it has none."""
    return SIDE_IN_NAME.sub(lambda found: _OTHER[found[0].lower()], name)


def _mirror_of(pairs: Any, count: int) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The mirror counterparts and groups that a COCO category's `flip_pairs` stand for."""
    mirror = list(range(count))
    try:
        for a, b in pairs:
            mirror[a], mirror[b] = b, a
    except (TypeError, ValueError, IndexError):
        raise HomologError(
            f"flip_pairs: expected pairs of ids from 0 to {count - 1}, got {pairs!r}"
        ) from None
    return tuple(mirror), _counterparts(mirror)


def _counterparts(mirror: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The pairs of different keypoints that are each other's mirror counterparts."""
    return tuple((i, other) for i, other in enumerate(mirror) if i < other)


@functools.cache
def builtin_schemas() -> dict[str, Any]:
    """The schemas that come with the package, as they are on disk."""
    text = resources.files("homolog").joinpath("assets/keypoint_schemas.json").read_text("utf-8")
    schemas: dict[str, Any] = json.loads(text)
    return schemas


def _lookup(table: Mapping[str, Any], key: str, name: str) -> Any:
    if key not in table:
        raise HomologError(f"{name}: expected one of {', '.join(table)}, got {key!r}")
    return table[key]
