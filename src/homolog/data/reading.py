"""What the readers of data sets share: collecting errors, JSON files, finding images."""

from __future__ import annotations

import contextlib
import filecmp
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from homolog.errors import HomologError
from homolog.image.folders import find_images
from homolog.image.formats import image_suffixes
from homolog.utils.json_text import parse_json

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What taking an entry apart raises that is not as it should be."""

_ADDRESS = re.compile(r"[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")
"""How a path with a drive's letter or an address begins."""

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


class ErrorCollector:
    """Raises the first error met while reading a data set, or collects all of them.

    Attributes:
        messages: those collected so far, a line each.

    Args:
        collect: collect errors and read on, instead of raising the first.
    """

    def __init__(self, collect: bool = False):
        self.collect = collect
        self.messages: list[str] = []

    def add(self, location: Path | str, message: str) -> None:
        """Report an error because of which a pair or an image cannot be used.

        Args:
            location: the file it is in, perhaps with a line.
            message: what was expected there and what was found.

        Raises:
            HomologError: errors are not collected.
        """
        self.add_error(HomologError(f"{location}: {message}"))

    def add_error(self, error: HomologError) -> None:
        """Report an error that already says which file it is in.

        Raises:
            HomologError: errors are not collected.
        """
        if not self.collect:
            raise error
        self.messages.append(str(error))

    @contextlib.contextmanager
    def reading(self, path: Path, expected: str) -> Iterator[None]:
        """A block that reads a file; where errors are collected, reading goes on after it.

        Args:
            path: the file.
            expected: what it should hold.

        Raises:
            HomologError: errors are not collected.
        """
        try:
            yield
        except HomologError as error:
            self.add_error(error)
        except MALFORMED as error:
            self.add(path, f"expected {expected}, got: {describe_error(error)}")


class ImageFinder:
    """Finds the images that an annotation file names.

    Names are taken as they are written. Where there is no such image, backslashes count as
    slashes and `%20` as a blank; folders in front of a name may be those of the folder that is
    searched; and of paths and addresses of other machines, Label Studio's among them, the end
    does. Of such a path the name of the file alone will do if it occurs once in the folders of
    images and below.

    Args:
        path: the annotation file.
        folder: the folder that names are relative to. Without it they are looked up in the file's
            folder; in `images` and `data` there; where COCO, CVAT and others put the images of an
            annotation file; and then in the same places of the folder above.
        fallback: a folder that is searched after the file's own, and before the one above it.
    """

    def __init__(self, path: Path, folder: Path | None = None, fallback: Path | None = None):
        self.path = path
        own = list(_near(path.parent, path.stem))
        above = list(_near(path.absolute().parent.parent, path.stem))
        if path.absolute().parent.name == "annotations":  # as in COCO, whose images lie beside it
            own += [each for each in above[1:] if each not in own]
        given = [] if fallback is None else [fallback]
        order = [folder] if folder is not None else [*own, *given, *above]
        self.folders: Sequence[Path] = list(dict.fromkeys(order))
        self._given = folder or fallback
        self._near = {path.parent, path.absolute().parent.parent} - {self._given}
        self._others: dict[str, tuple[Path, Path]] = {}

    def find(self, name: str) -> Path:
        """The path of the image with that name.

        Raises:
            HomologError: it is in none of the folders, or it is not clear which one is meant.
        """
        for places in self._places(name):
            found = list(filter(_is_file, places))
            if found:
                self._compare(name, found)
                return found[0]
        for base in _base_names(name):
            found = self._by_name.get(base, [])
            if len(found) > 1:
                raise HomologError(
                    f"expected one image {base} for {name}, got {abbreviate(map(str, found))}"
                )
            if found:
                return found[0]
        raise HomologError(f"expected an image {name} in {self._searched()}, got none")

    @property
    def notes(self) -> list[str]:
        """A line if images were in the folder given and elsewhere, and are not the same."""
        if not self._others:
            return []
        used, other = next(iter(self._others.values()))
        return [
            f"{self.path}: images that are there in two folders and differ, of which the first is "
            f"used: {len(self._others)} ({used}, not {other})"
        ]

    def _compare(self, name: str, found: Sequence[Path]) -> None:
        """Note if an image is in the folder given and, another one, near the file."""
        if self._given is None or name in self._others:
            return
        inside = [path.is_relative_to(self._given) for path in found]
        for path, given in zip(found[1:], inside[1:], strict=True):
            if given != inside[0] and not _same_content(found[0], path):
                self._others[name] = found[0], path

    def find_stem(self, name: str | int) -> Path:
        """The path of the image whose name without its ending is that; zeros before a number count.

        Raises:
            HomologError: it is in none of the folders, or there are several.
        """
        found = self._by_stem.get(name, [])
        if len(found) != 1:
            paths = abbreviate(map(str, found)) or "none"
            raise HomologError(f"expected an image {name} in {self._searched()}, got {paths}")
        return found[0]

    @cached_property
    def _by_stem(self) -> dict[str | int, list[Path]]:
        """All images by names without ending, with folders and without, and by numbers."""
        found: dict[str | int, list[Path]] = {}
        for folder, path in self._files:
            inside = path.relative_to(folder).with_suffix("")
            names: set[str | int] = {inside.as_posix(), path.stem}
            if path.stem.isdecimal():
                names.add(int(path.stem))
            for name in names:
                if path not in found.setdefault(name, []):
                    found[name].append(path)
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """All images by the names of their files."""
        found: dict[str, list[Path]] = {}
        known: set[Path] = set()
        for _, path in self._files:
            if path.resolve() not in known:
                known.add(path.resolve())
                found.setdefault(path.name, []).append(path)
        return found

    @cached_property
    def _files(self) -> list[tuple[Path, Path]]:
        """All images with the folders in which they were searched."""
        suffixes = image_suffixes()
        found: list[tuple[Path, Path]] = []
        for folder in filter(Path.is_dir, self.folders):
            if folder in self._near:  # it may hold anything: only its own files count
                files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
            else:
                files = find_images([folder])
            found += ((folder, file) for file in files)
        return found

    def _places(self, name: str) -> Iterator[list[Path]]:
        """Where an image may be: in each folder as it is named, then as it may be meant."""
        yield [folder / name for folder in self.folders]
        plain = _plain(name)
        parts = PurePosixPath(plain).parts
        yield [folder / plain for folder in self.folders]
        for count in range(1, len(parts)):
            yield [
                folder.joinpath(*parts[count:])
                for folder in self.folders
                if _is_foreign(plain) or folder.absolute().parts[-count:] == parts[:count]
            ]

    def _searched(self) -> str:
        present = [folder for folder in self.folders if folder.is_dir()]
        return ", ".join(map(str, present or self.folders))


def _near(folder: Path, stem: str) -> Iterator[Path]:
    """Where the images of an annotation file may be that lies in a folder, or in one within it.

    Args:
        folder: the folder.
        stem: the file's name without ending; as CVAT and COCO write it, it ends in the name of a
            subset, such as `person_keypoints_train2017`, that is the name of a folder.
    """
    yield folder
    yield folder / "images"
    yield folder / "data"
    words = stem.split("_")
    for start in range(len(words)):
        subset = "_".join(words[start:])
        for place in (folder / "images" / subset, folder / subset):
            if subset and place.is_dir():
                yield place


def _plain(name: str) -> str:
    """A name or address with slashes, without what was escaped and what follows a query."""
    plain = name.replace("\\", "/")
    if _is_foreign(plain) and "?" in plain:
        address = urlsplit(plain)
        # Label Studio's local files: /data/local-files/?d=folder/image.jpg
        local = parse_qs(address.query).get("d")
        return local[0] if local and local[0] else unquote(plain.partition("?")[0])
    return unquote(plain)


def _is_foreign(plain: str) -> bool:
    """Whether a name is a path or an address on some machine, perhaps another one."""
    return plain.startswith(("/", "../")) or _ADDRESS.match(plain) is not None


def _base_names(name: str) -> Iterator[str]:
    """Under which names an image may lie anywhere that was named by a path of another machine."""
    if _is_foreign(name.replace("\\", "/")):
        base = PurePosixPath(_plain(name)).name
        yield base
        if (stripped := _UPLOADED.sub("", base, count=1)) != base:
            yield stripped


def _same_content(path: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    try:
        return path.samefile(other) or filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """Whether a file is there; names that no file can have are none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_json(path: Path, nan_as_null: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        nan_as_null: read NaN and infinity, which Python writes but JSON does not know, as None.

    Raises:
        HomologError: it cannot be read or is not JSON; the message names file and line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return parse_json(content, str(path), nan_as_null=nan_as_null)


def unreadable(path: Path, error: OSError) -> HomologError:
    """The error to raise for a file that cannot be opened or read."""
    return HomologError(f"{path}: expected a readable file, got: {error.strerror or error}")


def describe_error(error: Exception) -> str:
    """Word an exception that a malformed entry raised while it was read."""
    return f"expected {error}, got none" if isinstance(error, KeyError) else str(error)


def check_choice(argument: str, value: str, choices: Sequence[str]) -> None:
    """Check that an argument is one of the known words.

    Raises:
        HomologError: it is not; the message lists them.
    """
    if value not in choices:
        raise HomologError(f"{argument}: expected {' or '.join(choices)}, got {value!r}")


def abbreviate(names: Iterable[str], limit: int = 5) -> str:
    """Join names with commas: the first few, and the number of the others.

    >>> abbreviate("abcdefg", limit=3)
    'a, b, c and 4 more'
    """
    all_names = list(names)
    more = len(all_names) - limit
    return ", ".join(all_names[:limit]) + (f" and {more} more" if more > 0 else "")
