"""Folders that are searched for images, with links to folders and what cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from homolog.errors import HomologError
from homolog.image.formats import HEIF_SUFFIXES, image_suffixes

_KINDS = (
    ".3fr .arw .avif .avifs .bw .cr2 .cr3 .crw .cur .czi .dcm .dcr .dcx .dds .dib .dng .emf .eps "
    ".erf .exr .fit .fits .flc .fli .hdr .heic .heif .hif .icns .ico .iiq .j2c .j2k .jp2 .jpc "
    ".jpf .jpg2 .jpx .jxl .jxr .kdc .lif .lsm .mef .mos .mrw .nd2 .ndpi .nef .nrw .oib .oif .orf "
    ".pcd .pcx .pef .psd .qoi .raf .ras .raw .rgb .rgba .rw2 .rwl .sgi .sr2 .srf .srw .svg .svgz "
    ".svs .tga .vsi .wmf .x3f .xbm .xcf .xpm"
)
_UNREADABLE = frozenset(_KINDS.split())
"""Suffixes of images that are not read, or not without a plugin or a build option."""

_WEIGHTS = "model.safetensors"  # of a model, whose folder has a report with images beside it

_NAMED = 3  # of a kind in a note; the others are counted


@dataclass(frozen=True)
class FoundImages:
    """The images in some folders and below, and what was passed over there.

    Attributes:
        files: the images, those of each path sorted by name.
        unreadable: images of kinds that cannot be read.
        linked: links to folders, which were searched like others.
        loops: links to folders that were searched already, or that they are in.
        closed: folders that could not be opened.
    """

    files: tuple[Path, ...]
    unreadable: tuple[Path, ...] = ()
    linked: tuple[Path, ...] = ()
    loops: tuple[Path, ...] = ()
    closed: tuple[Path, ...] = ()

    @property
    def notes(self) -> list[str]:
        """A line for each kind of thing that was passed over or found elsewhere."""
        heif = any(path.suffix.lower() in HEIF_SUFFIXES for path in self.unreadable)
        advice = "; try pip install 'homolog[heic]' for HEIC" if heif else ""
        lines = (
            ("images of kinds that cannot be read, left out", self.unreadable, advice),
            ("links to folders, searched like folders", self.linked, ""),
            ("links to folders that were searched already, left out", self.loops, ""),
            ("folders that cannot be opened, left out", self.closed, ""),
        )
        return [
            f"{what}: {len(paths)} ({_first(paths)}){advice}"
            for what, paths, advice in lines
            if paths
        ]


def search(paths: Iterable[Path], name: str = "images") -> FoundImages:
    """The given files, and the image files in the given folders and below, sorted by name.

    Links to folders are followed, but nothing is searched twice. The files that macOS adds to
    archives (`._*` and `__MACOSX`) are none, and folders below that hold a trained model are not
    searched, for the images of its report are none either.

    Args:
        paths: files and folders.
        name: what error messages call them.

    Raises:
        HomologError: one of the paths does not exist.
    """
    walk = _Walk()
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += walk.search(path)
        elif path.is_file():
            files.append(path)
        else:
            raise HomologError(
                f"{name}: expected a file or folder, got {path}, which does not exist"
            )
    return FoundImages(
        tuple(dict.fromkeys(files)),
        tuple(dict.fromkeys(walk.unreadable)),
        tuple(dict.fromkeys(walk.linked)),
        tuple(dict.fromkeys(walk.loops)),
        tuple(dict.fromkeys(walk.closed)),
    )


def find_images(paths: Iterable[Path], name: str = "images") -> list[Path]:
    """The given files, and the image files in the given folders and below; see `search`.

    Raises:
        HomologError: one of the paths does not exist.
    """
    return list(search(paths, name).files)


class _Walk:
    """Searches folders, each once.

    Attributes:
        unreadable: as those of `FoundImages`, like the others.
    """

    def __init__(self) -> None:
        self.unreadable: list[Path] = []
        self.linked: list[Path] = []
        self.loops: list[Path] = []
        self.closed: list[Path] = []
        self._suffixes = image_suffixes()

    def search(self, root: Path) -> list[Path]:
        """The images in a folder and below."""
        files: list[Path] = []
        visited = {_identity(root)}
        folders, links = [root], list[Path]()
        while folders or links:
            # Links come last, so that an image in both is found at its own place.
            folder = folders.pop() if folders else links.pop(0)
            if folder.is_symlink() and folder != root:
                if _identity(folder) in visited or _is_inside(folder):
                    self.loops.append(folder)
                    continue
                self.linked.append(folder)
                visited.add(_identity(folder))
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                self.closed.append(folder)
                continue
            if folder != root and any(entry.name == _WEIGHTS for entry in entries):
                continue
            for entry in entries:
                path = folder / entry.name
                if entry.name.startswith("._") or entry.name == "__MACOSX":
                    continue
                if _is_folder(entry):
                    if entry.is_symlink():
                        links.append(path)
                    elif _identity(path) not in visited:
                        visited.add(_identity(path))
                        folders.append(path)
                elif path.suffix.lower() in self._suffixes:
                    files.append(path)
                elif path.suffix.lower() in _UNREADABLE:
                    self.unreadable.append(path)
        return sorted(files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; what cannot be looked at is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from all others, whatever path leads to it."""
    try:
        status = folder.stat()
    except OSError:
        return -1, hash(folder)
    return status.st_dev, status.st_ino


def _is_inside(link: Path) -> bool:
    """Whether a link leads to a folder that it lies in."""
    return link.parent.resolve().is_relative_to(link.resolve())


def _first(paths: tuple[Path, ...]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(map(str, paths[:_NAMED])) + (f" and {more} more" if more > 0 else "")
