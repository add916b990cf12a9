"""Manifests: files that list the pairs of a benchmark, so that others evaluate on the same ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from homolog.data.pairs import DataSet
from homolog.data.reading import read_json
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

FORMAT = "homolog pairs"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """A list of pairs and the rules by which they were chosen.

    Attributes:
        path: the file it was read from.
        rules: arguments by which the pairs were chosen.
        pairs: names of the source and the target annotation.
    """

    path: Path
    rules: Mapping[str, Any]
    pairs: Sequence[tuple[str, str]]

    def index(self, names: Sequence[str]) -> Int[np.ndarray, "P 2"]:
        """Look up the position of each pair's source and target among annotation names.

        Raises:
            HomologError: a pair has a name that is not among them.
        """
        positions = {name: position for position, name in enumerate(names)}
        for number, pair in enumerate(self.pairs):
            for name in pair:
                if name not in positions:
                    raise HomologError(
                        f"{self.path}: pair {number}: expected images of the data set, got {name}"
                    )
        index = [(positions[source], positions[target]) for source, target in self.pairs]
        return np.array(index, dtype=int).reshape(-1, 2)


def write(path: Path, dataset: DataSet, rules: Mapping[str, Any]) -> None:
    """Write the pairs of a data set.

    Args:
        path: the file to be written.
        dataset: the data set.
        rules: arguments by which its pairs were chosen, ready for JSON.

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
        HomologError: it cannot be read, is not a manifest, or its hash is that of other pairs.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise HomologError(f"{path}: expected a manifest of pairs, got other JSON")
    if document.get("version") != VERSION:
        version = document.get("version")
        raise HomologError(f"{path}: version: expected {VERSION}, got {version}")
    rules, pairs, stated = (document.get(key) for key in ("rules", "pairs", "sha256"))
    if not isinstance(rules, dict) or not isinstance(pairs, list):
        raise HomologError(f"{path}: expected a manifest with rules and pairs, got one without")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or list(map(type, pair)) != [str, str]:
            raise HomologError(f"{path}: pair {number}: expected two names, got {pair!r}")
    actual = digest(pairs)
    if actual != stated:
        raise HomologError(f"{path}: SHA-256 of its pairs: expected {stated}, got {actual}")
    return Manifest(path, rules, [(source, target) for source, target in pairs])


def digest(pairs: Sequence[Sequence[str]]) -> str:
    """SHA-256, in hexadecimal, of the pairs as JSON in ASCII without spaces."""
    return hashlib.sha256(json.dumps(pairs, separators=(",", ":")).encode()).hexdigest()
