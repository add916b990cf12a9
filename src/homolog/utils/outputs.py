"""Writing results: found out before the work whether it can be done, and done all or nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from homolog.errors import HomologError


def check_output(
    path: str | os.PathLike[str], suffixes: Collection[str], name: str = "out"
) -> Path:
    """The path, if a file can be written there.

    Args:
        path: the file to be written; an existing one will be replaced.
        suffixes: the endings that are understood, such as `.png`.
        name: what error messages call it.

    Raises:
        HomologError: another ending, no such folder, a folder of that name, or no permission.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise HomologError(f"{name}: {path} must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise HomologError(f"{name}: {path} is a directory")
    try:
        # A file made and removed is the one sure test: permissions, quotas, read-only disks.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".homolog-"):
            pass
    except OSError as error:
        raise HomologError(f"{name}: cannot write {path}: {error.strerror}") from error
    return path


def write_atomically(path: Path, data: bytes, name: str = "out") -> None:
    """Write a file so that at no time a part of it stands under its name.

    Raises:
        HomologError: it cannot be written; what was there before is untouched.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}-", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
        replace_atomically(temporary, path)
    except OSError as error:
        raise HomologError(f"{name}: cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def replace_atomically(temporary: Path, path: Path) -> None:
    """Put a finished temporary file in a file's place.

    Raises:
        OSError: it cannot be done; what was there before is untouched.
    """
    # A temporary file is private; the result gets the permissions of any new file.
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    temporary.replace(path)


def claim_run_dir(folder: Path, run: Mapping[str, Any]) -> None:
    """Make the folder a run's, by `run.json` in it, or find that it is.

    Args:
        folder: made if it is not there.
        run: what makes the run what it is, for JSON.

    Raises:
        HomologError: the folder holds another run, or cannot be written.
    """
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if json.loads(path.read_text("utf-8")) == json.loads(json.dumps(run)):
                return
            raise HomologError(f"out: {folder} holds another run, see {path}; name another folder")
        write_atomically(path, (json.dumps(run, indent=1) + "\n").encode())
    except OSError as error:
        raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, HomologError):
            raise
        raise HomologError(f"out: {path} is not what it was written as: {error}") from None
