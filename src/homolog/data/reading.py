"""What the readers of data sets share: collecting errors, JSON files, finding images."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from PIL import Image

from homolog.errors import HomologError
from homolog.image import reading

_ADDRESS = re.compile(r"[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")
"""How a path with a drive's letter or an address begins."""


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


class ImageFinder:
    """Finds the images that an annotation file names.

    Names are taken as they are written. Where there is no such image, backslashes count as
    slashes and `%20` as a blank; folders in front of a name may be those of the folder that is
    searched; and of paths and addresses of other machines the end does.

    Args:
        path: the annotation file.
        folder: the folder that names are relative to. Without it they are looked up in the file's
            folder, in its parent, and in `images` and `data` of either.
        fallback: a folder that is searched after all others.
    """

    def __init__(self, path: Path, folder: Path | None = None, fallback: Path | None = None):
        near = (path.parent, path.absolute().parent.parent)
        below = (parent / name for parent in near for name in ("images", "data"))
        folders = (*near, *below) if folder is None else (folder,)
        self.folders: Sequence[Path] = folders if fallback is None else (*folders, fallback)
        self._searched_below = folder is not None

    def find(self, name: str) -> Path:
        """The path of the image with that name.

        Raises:
            HomologError: it is in none of the folders.
        """
        written = (folder / name for folder in self.folders)
        for path in itertools.chain(written, self._variants(name)):
            if _is_file(path):
                return path
        raise HomologError(f"expected an image {name} in {self._searched()}, got none")

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
        suffixes = Image.registered_extensions()
        found: dict[str | int, list[Path]] = {}
        for folder in filter(Path.is_dir, self.folders):
            # Without a folder given, those near the file may hold anything: only files count.
            files = reading.find_images([folder]) if self._searched_below else folder.iterdir()
            for path in files:
                if path.suffix.lower() not in suffixes:
                    continue
                inside = path.relative_to(folder).with_suffix("")
                names: set[str | int] = {inside.as_posix(), path.stem}
                if path.stem.isdecimal():
                    names.add(int(path.stem))
                for name in names:
                    if path not in found.setdefault(name, []):
                        found[name].append(path)
        return found

    def _variants(self, name: str) -> Iterator[Path]:
        """Where an image may be whose name was written otherwise than its path."""
        plain = unquote(name.replace("\\", "/"))
        parts = PurePosixPath(plain).parts
        foreign = plain.startswith(("/", "../")) or _ADDRESS.match(plain) is not None
        for folder in self.folders:
            yield folder / plain
            own = folder.absolute().parts
            for count in range(1, len(parts)):
                if foreign or own[-count:] == parts[:count]:
                    yield folder.joinpath(*parts[count:])

    def _searched(self) -> str:
        return ", ".join(map(str, self.folders))


def _is_file(path: Path) -> bool:
    """Whether a file is there; names that no file can have are none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        HomologError: it cannot be read or is not JSON; the message names file and line.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from error
    except json.JSONDecodeError as error:
        raise HomologError(
            f"{path}, line {error.lineno}: expected JSON, got {error.msg}"
        ) from error
    except UnicodeDecodeError:
        raise HomologError(f"{path}: expected JSON, got bytes that are not text") from None


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
