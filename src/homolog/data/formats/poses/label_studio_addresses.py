"""Addresses of images in the tasks of Label Studio."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

from homolog.data.formats.image_claims import Parts
from homolog.data.reading import ImageFinder
from homolog.errors import HomologError

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts in front of the name of an uploaded file."""

_ON_MACHINE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:/")
"""What addresses on servers and paths on Windows begin with."""


def image_address(data: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> str:
    """The address of the image of a task.

    Raises:
        ValueError: none or several of its data are images.
    """
    suffixes = Image.registered_extensions()
    named = {
        key: value
        for key, value in data.items()
        if isinstance(value, str) and PurePosixPath(_path_of(value)).suffix.lower() in suffixes
    }
    shown = sorted({str(region.get("to_name")) for region in regions})
    for key in ("image", "img", *shown):
        if len(named) > 1 and key in named:
            return str(named[key])
    if len(named) != 1:
        raise ValueError(f"data: expected one image, got {', '.join(named) or 'none'}")
    return str(next(iter(named.values())))


def _path_of(address: str) -> str:
    """The path that an address ends with, without the server."""
    parts = urlsplit(address.replace("\\", "/"))
    local = parse_qs(parts.query).get("d")
    return local[0].replace("\\", "/") if local else unquote(parts.path)


def image_parts(address: str) -> Parts:
    """What tells the image of an address from others: its path, and the server or bucket."""
    parts = urlsplit(address.replace("\\", "/"))
    path = PurePosixPath(_path_of(address)).parts
    server = "" if _is_shared(address) or "upload" in path else parts.netloc
    return tuple(part for part in (server, *path) if part and part != "/")


def _is_shared(address: str) -> bool:
    """Whether an address is that of a file in a folder that the server shares."""
    return bool(parse_qs(urlsplit(address).query).get("d"))


def find_image(
    address: str, end: Parts, finder: ImageFinder
) -> tuple[str, Path | None, str | None]:
    """The name of an image, its file, and the message to raise for it if it was not found.

    Args:
        address: of the image.
        end: of its parts, by which it differs from the other images.
        finder: finds it.
    """
    path = PurePosixPath(_path_of(address))
    if "upload" in path.parts:
        return _find_upload(path.name, finder)
    is_foreign = path.is_absolute() or any(map(_ON_MACHINE.match, (address, str(path))))
    name = "/".join(end) if is_foreign else str(path)
    try:
        found = finder.find(str(path))
    except HomologError as error:
        if not _is_shared(address):
            return name, None, str(error)
        try:  # the folder that the server shares need not be the one of the images
            found, is_foreign = finder.find(f"/{path}"), True
        except HomologError:
            return name, None, str(error)
    if len(end) > 1 and found.absolute().parts[-len(end) :] != end:
        return name, None, f"expected an image {'/'.join(end)}, got {found}"
    if is_foreign:
        parts = image_parts(address)
        below = [
            found.relative_to(folder).parts
            for folder in finder.folders
            if found.is_relative_to(folder)
        ]
        ends = [each for each in below if len(each) >= len(end) and parts[-len(each) :] == each]
        shortest: tuple[str, ...] = min(ends, key=len, default=())
        name = "/".join(shortest) or name
    return name, found, None


def _find_upload(name: str, finder: ImageFinder) -> tuple[str, Path | None, str | None]:
    """An uploaded file, without what was put in front of its name if that is gone."""
    plain = _UPLOADED.sub("", name, count=1)
    try:
        return name, finder.find(name), None
    except HomologError:
        pass
    try:
        return plain, finder.find(plain), None
    except HomologError as error:
        return plain, None, str(error)
