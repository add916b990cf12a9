"""Manifests: which pairs a benchmark has, so that others can measure on the very same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from homolog.data.pairs import DataSet, read_json
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

FORMAT = "homolog pairs"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """A list of pairs and how they were chosen.

    Attributes:
        path: the file it was read from.
        rules: how the pairs were chosen.
        pairs: names of the source's and the target's annotation.
    """

    path: Path
    rules: Mapping[str, Any]
    pairs: Sequence[tuple[str, str]]

    def index(self, names: Sequence[str]) -> Int[np.ndarray, "P 2"]:
        """The places of each pair's source and target among the names.

        Raises:
            HomologError: a pair has a name that is not among them.
        """
        places = {name: place for place, name in enumerate(names)}
        for number, pair in enumerate(self.pairs):
            for name in pair:
                if name not in places:
                    what = f"there is no picture {name} in the data"
                    raise HomologError(f"{self.path}: pair {number}: {what}")
        found = [(places[source], places[target]) for source, target in self.pairs]
        return np.array(found, dtype=int).reshape(-1, 2)


def write(path: Path, dataset: DataSet, rules: Mapping[str, Any]) -> None:
    """Write a data set's pairs.

    Args:
        path: the file to be written.
        dataset: the pairs.
        rules: how they were chosen, as JSON takes it.

    Raises:
        HomologError: the file cannot be written.
    """
    pairs = [(pair.source.name, pair.target.name) for pair in dataset.pairs]
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": dataset.name,
        "rules": dict(rules),
        "sha256": digest(pairs),
        "pairs": pairs,
    }
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode(), "manifest")


def read(path: Path) -> Manifest:
    """Read a manifest and verify its hash.

    Raises:
        HomologError: it cannot be read, is not a manifest, or its pairs are not those that its
            hash was made of.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise HomologError(f"{path}: is not a manifest of pairs")
    if document.get("version") != VERSION:
        what = f"is a manifest of version {document.get('version')}, takes {VERSION}"
        raise HomologError(f"{path}: {what}")
    rules, pairs, stated = (document.get(key) for key in ("rules", "pairs", "sha256"))
    if not isinstance(rules, dict) or not isinstance(pairs, list):
        raise HomologError(f"{path}: is a manifest without rules or pairs")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or list(map(type, pair)) != [str, str]:
            raise HomologError(f"{path}: pair {number}: {pair!r} is not two names")
    found = digest(pairs)
    if found != stated:
        raise HomologError(f"{path}: SHA-256 of its pairs is {found}, it says {stated}")
    return Manifest(path, rules, [(source, target) for source, target in pairs])


def digest(pairs: Sequence[Sequence[str]]) -> str:
    """SHA-256 of the pairs as JSON in ASCII without spaces, in hexadecimal."""
    return hashlib.sha256(json.dumps(pairs, separators=(",", ":")).encode()).hexdigest()
