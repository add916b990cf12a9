"""The keypoints of one category: their names, mirror counterparts, and which look alike."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import HomologError
from homolog.keypoints.entries import (
    abbreviate,
    as_list,
    as_names,
    as_pair,
    counterparts,
    mirror_of_pairs,
    read_names,
)
from homolog.keypoints.side_names import read_sides

_MOST = 100_000  # keypoints without names


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
        sides_known: whether `mirror` tells left from right. If not, flipped images cannot be used,
            because a flip exchanges left and right.

    >>> schema = KeypointSchema.from_names(["nose", "left_eye", "right_eye"])
    >>> schema.mirror
    (0, 2, 1)
    """

    names: tuple[str, ...]
    mirror: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()
    sides_known: bool = True

    def __post_init__(self) -> None:
        try:
            mirror = tuple(map(operator.index, self.mirror))
            groups = tuple(tuple(map(operator.index, group)) for group in self.groups)
        except TypeError:
            raise HomologError(
                f"mirror, groups: expected ids of keypoints, got {self.mirror!r}, {self.groups!r}"
            ) from None
        names = tuple(as_list(self.names, "names", "names"))
        if not all(isinstance(name, str) for name in names):
            raise HomologError(f"names: expected a list of names, got {self.names!r}")
        for field, value in (("names", names), ("mirror", mirror), ("groups", groups)):
            object.__setattr__(self, field, value)
        count = len(self.names)
        if len(self.mirror) != count or any(
            not 0 <= other < count or self.mirror[other] != index
            for index, other in enumerate(self.mirror)
        ):
            raise HomologError(
                f"mirror: expected counterparts of {count} keypoints, where the counterpart of a "
                f"counterpart is the keypoint itself, got {list(self.mirror)}"
            )
        members = [index for group in groups for index in group]
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
    def coco(cls, category: Any) -> KeypointSchema:
        """The keypoints of a category in a COCO file.

        Counterparts come from its `flip_indices` or `flip_pairs` if it has them, otherwise from
        the names (`from_names`).

        Args:
            category: an entry of the file's `categories`.

        Raises:
            HomologError: it has no `keypoints`, or one twice, or `flip_indices` or `flip_pairs`
                that do not fit them.
        """
        if not isinstance(category, Mapping):
            raise HomologError(f"category: expected an entry of a COCO file, got {category!r}")
        names = category.get("keypoints")
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise HomologError(
                f"category: expected a list of keypoints in {category.get('name')!r}, got {names!r}"
            )
        names = as_names([str(name).strip() for name in names])
        indices, pairs = category.get("flip_indices"), category.get("flip_pairs")
        if indices is None and pairs is None:
            return cls.from_names(names)
        if indices is None:
            return cls(names, *mirror_of_pairs(pairs, len(names)))
        try:
            mirror = tuple(int(index) for index in indices)
        except (TypeError, ValueError):
            raise HomologError(f"flip_indices: expected a list of ids, got {indices!r}") from None
        return cls(names, mirror, counterparts(mirror))

    @classmethod
    def load(cls, name: Any) -> KeypointSchema:
        """The schema of a given name or file.

        Args:
            name: `ap10k`, `spair:<category>`, or the path of a file. Of a COCO file (`.json`) the
                first category with keypoints is used. A text file has a name on each line, in the
                order of the keypoints, and says which are mirror counterparts: in a second
                column, or in lines `left:right`. Where it does not, the sides are read from the
                names. Names of a pair without a line of their own come in the place of the pair.

        Raises:
            HomologError: it is none of these, or the file cannot be used.
        """
        if not isinstance(name, (str, os.PathLike)):
            raise HomologError(
                f"schema: expected ap10k, spair:<category>, a COCO file or a file of names, got "
                f"{name!r}"
            )
        if name == "ap10k":
            return cls.ap10k()
        if isinstance(name, str) and name.startswith("spair:"):
            return cls.spair(name.removeprefix("spair:"))
        path = Path(name)
        try:
            text = path.read_text("utf-8-sig")
        except (FileNotFoundError, ValueError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise HomologError(
                    f"schema: expected a COCO file or a file of names, got {path}, which is not "
                    "text in UTF-8"
                ) from None
            raise HomologError(
                f"schema: expected ap10k, spair:<category>, a COCO file or a file of names, got "
                f"{str(name)!r}"
            ) from None
        except OSError as error:
            raise HomologError(f"schema: cannot read {path}: {error.strerror}") from error
        if path.suffix.lower() != ".json" and text.lstrip()[:1] not in ("{", "["):
            names, pairs = read_names(text, path)
            try:
                return cls.from_pairs(names, pairs) if pairs else cls.from_names(names)
            except HomologError as error:
                raise HomologError(f"schema: {path}: {error}") from None
        try:
            categories = [c for c in json.loads(text)["categories"] if c.get("keypoints")]
            return cls.coco(categories[0])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise HomologError(
                f"schema: expected a COCO file with a category that has keypoints, got {path}"
            ) from None

    @classmethod
    def from_names(cls, names: Any) -> KeypointSchema:
        """A schema whose mirror counterparts are read from the names (`read_sides`).

        Two keypoints are counterparts if their names differ by what tells their side: words and
        letters such as `left_front_paw` and `right_front_paw`, `L_Eye` and `R_Eye`, `wingL` and
        `wingR`, `FL_paw` and `FR_paw`, `Auge links` and `Auge rechts`. All others are their own
        counterparts. Where no names do, the sides are not known.

        Args:
            names: of the keypoints, in their order.

        Raises:
            HomologError: a name occurs twice, or something is no name.
        """
        given = as_names(names)
        mirror = read_sides(given).mirror
        pairs = counterparts(mirror)
        return cls(given, mirror, pairs, sides_known=bool(pairs))

    @classmethod
    def from_pairs(cls, names: Any, pairs: Any) -> KeypointSchema:
        """A schema whose mirror counterparts are given; keypoints in no pair are their own.

        Args:
            names: of the keypoints, in their order.
            pairs: of names or ids, each the left keypoint and the right one; none where every
                keypoint is its own counterpart, as on a wing.

        Raises:
            HomologError: a name occurs twice, or a pair is none, is unknown, or contradicts
                another.

        >>> KeypointSchema.from_pairs(["a", "b", "c"], [("a", "c")]).mirror
        (2, 1, 0)
        """
        given = as_names(names)
        mirror = tuple(range(len(given)))
        return cls(given, mirror, (), sides_known=False).with_sides(pairs)

    @classmethod
    def numbered(cls, count: int) -> KeypointSchema:
        """Keypoints without names, of which it is not known which are left and which right."""
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or not 0 <= count <= _MOST:
            raise HomologError(f"count: expected a number of keypoints, got {count!r}")
        return cls(tuple(map(str, range(count))), tuple(range(count)), (), sides_known=False)

    def with_sides(self, sides: Any) -> KeypointSchema:
        """The same keypoints with sides as somebody tells them.

        Args:
            sides: pairs of names or ids, or texts `left:right`, over what is known so far; `none`
                or nothing where every keypoint is its own counterpart. Or a file as for `load`,
                whose counterparts are taken.

        Raises:
            HomologError: a pair is none, is unknown, or contradicts another.
        """
        pairs = pairs_of(sides)
        if not pairs:
            own = tuple(range(len(self)))
            return dataclasses.replace(self, mirror=own, groups=(), sides_known=True)
        mirror, told = list(self.mirror), dict[int, int]()
        for left, right in pairs:
            i, j = self._find(left), self._find(right)
            for one, other in ((i, j), (j, i)):
                if told.setdefault(one, other) != other:
                    raise HomologError(
                        f"sides: expected one counterpart of {self.names[one]!r}, got "
                        f"{self.names[told[one]]!r} and {self.names[other]!r}"
                    )
        for i in told:  # what was a counterpart of theirs is now its own
            mirror[mirror[i]] = mirror[i]
        for i, j in told.items():
            mirror[i] = j
        found = tuple(mirror)
        return dataclasses.replace(self, mirror=found, groups=counterparts(found), sides_known=True)

    def _find(self, keypoint: Any) -> int:
        """The id of a keypoint that is one of a pair, by its name or id."""
        if isinstance(keypoint, str) and keypoint.strip() in self.names:
            return self.names.index(keypoint.strip())
        if type(keypoint) is int and 0 <= keypoint < len(self):
            return keypoint
        raise HomologError(
            f"sides: expected names of keypoints, {abbreviate(self.names)}, got {keypoint!r}"
        )

    @classmethod
    def _from_pairs(cls, names: Sequence[str], entry: Mapping[str, Any]) -> KeypointSchema:
        mirror = list(range(len(names)))
        for a, b in entry["mirror_pairs"]:
            mirror[a], mirror[b] = b, a
        return cls(tuple(names), tuple(mirror), tuple(tuple(group) for group in entry["groups"]))

    def resolve(self, ids: Any, count: int) -> tuple[int, ...]:
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
        given = as_list(ids, "point_ids", "ids or names")
        if len(given) != count:
            raise HomologError(f"point_ids: expected {count}, one for each point, got {len(given)}")
        resolved = [self._resolve(each) for each in given]
        if len(set(resolved)) != len(resolved):
            raise HomologError(f"point_ids: expected each keypoint once, got {given}")
        return tuple(resolved)

    def _resolve(self, given: Any) -> int:
        """The id of a keypoint that is given by its id or name; a name comes first."""
        if isinstance(given, str):
            if given in self.names:
                return self.names.index(given)
            known = abbreviate(self.names)
            if not (given.isascii() and given.isdigit()):
                raise HomologError(f"point_ids: expected one of {known}, got {given!r}")
            if any(name.isdigit() and name != str(i) for i, name in enumerate(self.names)):
                raise HomologError(
                    f"point_ids: expected one of {known}, whose names are numbers, got {given!r}"
                )
            given = int(given)
        try:
            if isinstance(given, (bool, np.bool_)):
                raise TypeError
            index = operator.index(given)
        except TypeError:
            raise HomologError(f"point_ids: expected ids or names, got {given!r}") from None
        if not 0 <= index < len(self):
            raise HomologError(f"point_ids: expected 0 to {len(self) - 1}, got {given}")
        return index


def _is_file(name: str | os.PathLike[str]) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # such as a name that is too long
        return False


def pairs_of(sides: Any) -> list[tuple[Any, Any]]:
    """The pairs of counterparts that somebody tells; no pairs for `none`.

    Args:
        sides: as for `KeypointSchema.with_sides`.

    Raises:
        HomologError: it is nothing of the kind, or a file cannot be used.
    """
    if isinstance(sides, (str, os.PathLike)):
        sides = [sides]
    given = as_list(sides, "sides", "pairs left:right, or none")
    if len(given) == 1 and isinstance(given[0], str) and given[0] == "none":
        return []
    if len(given) == 1 and isinstance(given[0], (str, os.PathLike)) and _is_file(given[0]):
        told = KeypointSchema.load(given[0])
        if not told.sides_known:
            raise HomologError(
                f"sides: expected pairs left:right or names that tell sides, got {given[0]}"
            )
        return [(name, told.names[i]) for name, i in zip(told.names, told.mirror, strict=True)]
    return [as_pair(each) for each in given]


@functools.cache
def builtin_schemas() -> dict[str, Any]:
    """The schemas that come with the package, as they are on disk."""
    text = resources.files("homolog").joinpath("assets/keypoint_schemas.json").read_text("utf-8")
    schemas: dict[str, Any] = json.loads(text)
    return schemas


def _lookup(table: Mapping[str, Any], key: str, name: str) -> Any:
    if not isinstance(key, str) or key not in table:
        raise HomologError(f"{name}: expected one of {', '.join(table)}, got {key!r}")
    return table[key]
