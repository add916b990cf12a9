"""Trained weights that their authors released as single files: fetched once, then kept.

They lie in the cache folder of the model hub, in `homolog/PRESET`. Only `Matcher.from_pretrained`
fetches them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from homolog.errors import HomologError
from homolog.utils.outputs import temporary_output

_CHUNK = 1 << 20
_LARGEST = 8 << 30  # bytes; more is not what was asked for
_TIMEOUT = 30.0  # seconds without an answer


@dataclass(frozen=True)
class Release:
    """A file of trained weights.

    Attributes:
        title: what it holds.
        url: where it is to be had.
        size: in bytes; None where it is not known.
        sha256: of its content; None where nobody has published it, and it is not checked.
    """

    title: str
    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def file(self) -> str:
        """Its name."""
        return PurePosixPath(urlsplit(self.url).path).name

    def path(self, preset: str) -> Path:
        """Where it is kept on this machine."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / "homolog" / preset / self.file


def fetch(release: Release, preset: str, backbone: Any) -> Path:
    """A released file on this machine, downloaded and checked if it is not there yet.

    Args:
        release: the file.
        preset: the preset that it belongs to.
        backbone: the configuration of the backbone, whose weights are needed besides.

    Raises:
        HomologError: it cannot be had, or its size or SHA-256 is another; the message says which
            files to put where.
    """
    path = release.path(preset)
    if path.exists():
        _check(release, path)
        return path
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _missing(release, path, backbone, "HF_HUB_OFFLINE forbids the network")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"weights: cannot make {path.parent}: {error.strerror}") from error
    with temporary_output(path, "weights") as part:
        try:
            digest = _download(release, part)
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split())
            raise _missing(release, path, backbone, reason[:120]) from None
        size = part.stat().st_size
        problem = _problem(release, size, digest)
        if problem is not None:
            raise HomologError(f"weights: expected {problem} from {release.url}; try again")
    warnings.warn(
        f"fetched {release.title} from {release.url} into {path}: {size:,} bytes, SHA-256 {digest}"
        + ("" if release.sha256 else ", which nobody has published to compare it with"),
        stacklevel=4,
    )
    return path


def _download(release: Release, part: Path) -> str:
    """Write a file as it comes; its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with urllib.request.urlopen(release.url, timeout=_TIMEOUT) as answer, part.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            size += len(chunk)
            if size > (release.size or _LARGEST):
                break
            digest.update(chunk)
            file.write(chunk)
        if answer.length:  # what is left of what was announced
            raise ValueError(f"it broke off after {size:,} bytes")
    return digest.hexdigest()


def _check(release: Release, path: Path) -> None:
    """Check a file that is there.

    Raises:
        HomologError: it is cut short, or another one.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise HomologError(f"weights: cannot read {path}: {error.strerror}") from error
    problem = _problem(release, size, digest)
    if problem is not None:
        raise HomologError(f"weights: expected {problem} in {path}; try removing it")


def _problem(release: Release, size: int, digest: str) -> str | None:
    """What is wrong with a file of this size and SHA-256, as an error message says it."""
    if release.size is not None and size != release.size:
        return f"{release.size:,} bytes, got {size:,},"
    if release.sha256 is not None and digest != release.sha256:
        return f"SHA-256 {release.sha256}, got {digest},"
    return None


def _missing(release: Release, path: Path, backbone: Any, reason: str) -> HomologError:
    """The error for a file that is neither here nor to be had: which files to put where."""
    models = " and ".join(f"`hf download {name}`" for name in dict.fromkeys(_models(backbone)))
    return HomologError(
        f"weights: expected {release.title} in {path}, got none, and it cannot be fetched "
        f"({reason}); try putting {release.url} there, and {models} for the backbone"
    )


def _models(backbone: Any) -> Iterable[str]:
    """The names of a backbone's models on the hub."""
    for part in getattr(backbone, "parts", (backbone,)):
        yield part.model
