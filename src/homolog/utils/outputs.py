"""Output files: checked before the work begins, and written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from homolog.errors import HomologError
from homolog.utils.temporary import temporary_file, temporary_folder


def check_output(
    path: str | os.PathLike[str],
    suffixes: Collection[str],
    name: str = "out",
    inputs: Iterable[Path | None] = (),
) -> Path:
    """Check that a file can be written, before work on its content begins.

    Args:
        path: the file to be written; an existing one will be replaced.
        suffixes: the allowed suffixes, such as `.png`.
        name: the argument that error messages name.
        inputs: files that the work reads, which must not be replaced.

    Returns:
        The path.

    Raises:
        HomologError: another suffix, a missing folder, a folder of that name, no permission, or
            the file is one of the inputs.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise HomologError(f"{name}: expected a name ending in {' or '.join(suffixes)}, got {path}")
    if path.is_dir():
        raise HomologError(f"{name}: expected a file, got {path}, which is a directory")
    if path.exists() and any(each and each.exists() and path.samefile(each) for each in inputs):
        raise HomologError(f"{name}: expected another file than the inputs, got {path}")
    try:
        # Only making a file shows that permissions, quotas and the disk allow it.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".homolog-"):
            pass
    except OSError as error:
        raise HomologError(f"{name}: cannot write {path}: {error.strerror}") from error
    return path


def write_atomically(path: Path, data: bytes, name: str = "out") -> None:
    """Write a file atomically: whoever reads it meanwhile sees the old content or the new.

    Args:
        path: the file.
        data: its content.
        name: the argument that error messages name.

    Raises:
        HomologError: it cannot be written; what was there before is untouched.
    """
    try:
        with temporary_file(path) as file:
            file.write(data)
            file.flush()
            if os.name == "nt":
                file.close()  # Windows renames no open files
            replace_atomically(Path(file.name), path)
    except OSError as error:
        raise HomologError(f"{name}: cannot write {path}: {error.strerror}") from error


def write_text_atomically(path: Path, text: str, name: str = "out") -> None:
    """The same of text, as UTF-8; names of files in it may be any bytes, which stay as they are.

    Arguments and errors are those of `write_atomically`.
    """
    write_atomically(path, text.encode(errors="surrogateescape"), name)


@contextlib.contextmanager
def temporary_output(path: Path, name: str = "out") -> Iterator[Path]:
    """A file for libraries that write to paths; it becomes the final one once it is written.

    Args:
        path: of the final file.
        name: the argument that error messages name.

    Raises:
        HomologError: it cannot be written; what was there before is untouched.
    """
    try:
        with temporary_folder(path.parent, ".homolog-") as folder:
            temporary = folder / path.name
            yield temporary
            replace_atomically(temporary, path)
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, HomologError):
            raise
        reason = " ".join(str(error).split())
        raise HomologError(f"{name}: cannot write {path}: {reason}") from error


def replace_atomically(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to its final name, with ordinary permissions.

    Args:
        temporary: the finished file, in the same folder.
        path: its final name; an existing file is replaced.

    Raises:
        OSError: it cannot be done; what was there before is untouched.
    """
    # Temporary files are private; the result gets the permissions of any new file.
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    temporary.replace(path)


def claim_run_dir(folder: Path, run: Mapping[str, Any]) -> None:
    """Claim a folder for a run, by a `run.json` that describes it; a resumed run finds its own.

    Args:
        folder: made if it does not exist.
        run: everything that identifies the run, for JSON.

    Raises:
        HomologError: the folder holds another run, or cannot be written.
    """
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if json.loads(path.read_text("utf-8")) == json.loads(json.dumps(run)):
                return
            raise HomologError(
                f"out: expected a folder for this run, got {folder}, which holds another run "
                f"(see {path}); try another folder"
            )
        write_atomically(path, (json.dumps(run, indent=1) + "\n").encode())
    except OSError as error:
        raise HomologError(f"out: cannot write {folder}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, HomologError):
            raise
        raise HomologError(f"out: expected the JSON of a run, got {path}: {error}") from None
