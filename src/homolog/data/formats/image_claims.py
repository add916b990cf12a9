"""Images that files of labels name by paths or addresses of other places, kept apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from homolog.errors import HomologError

Parts = tuple[str, ...]


def distinct_ends(paths: Iterable[Parts]) -> dict[Parts, Parts]:
    """The shortest end of each path that no other path ends in; the whole path if there is none.

    >>> distinct_ends([("a", "1", "f"), ("a", "2", "f"), ("a", "2", "g")])
    {('a', '1', 'f'): ('1', 'f'), ('a', '2', 'f'): ('2', 'f'), ('a', '2', 'g'): ('g',)}
    """
    unique = list(dict.fromkeys(paths))
    count = Counter(parts[start:] for parts in unique for start in range(len(parts)))
    return {
        parts: next(
            (parts[k:] for k in reversed(range(len(parts))) if count[parts[k:]] == 1), parts
        )
        for parts in unique
    }


class ImageClaims:
    """Refuses labels of different images that would end on one.

    Args:
        where: what error messages begin with.
    """

    def __init__(self, where: str):
        self._where = where
        self._first: dict[str, tuple[object, str]] = {}

    def add(self, name: str, found: Path | None, key: object, source: str) -> None:
        """Claim a name in the document, and the file that was found, for an image.

        Args:
            name: of the image in the document.
            found: its file, if it was found.
            key: what the labels name the image by; the same key is the same image.
            source: how error messages call the labels.

        Raises:
            HomologError: the name or the file is another image's.
        """
        for image in [name] if found is None else [name, os.path.realpath(found)]:
            first, other = self._first.setdefault(image, (key, source))
            if first != key:
                raise HomologError(
                    f"{self._where}: expected images of their own for {other} and {source}, got "
                    f"{image} for both"
                )
