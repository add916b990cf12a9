"""The images that the page may show, by random ids: a client never names a path."""

from __future__ import annotations

import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from homolog.errors import HomologError
from homolog.image import formats, reading
from homolog.utils.lru_cache import LRUCache
from homolog.utils.printable import printable

MAX_UPLOAD_PIXELS = 65_000_000
"""Pixels of an upload at most, as many as phones' cameras have; the server's own files may have
more."""

_FORMATS = "a JPEG, PNG, WebP, AVIF, GIF, TIFF, BMP, PPM or HEIC image"
_JPEG_CACHE_BYTES = 64 * 2**20
_MAX_NAME_LENGTH = 120


class UnknownImage(HomologError):
    """No image has that id, or it was removed to make room for newer uploads."""


class UploadTooLarge(HomologError):
    """An upload has more bytes than are accepted."""


@dataclass(frozen=True)
class StoredImage:
    """An image that the page may show.

    Attributes:
        id: random; all that a client knows of where the image is.
        name: what the page calls it.
        path: the file.
    """

    id: str
    name: str
    path: Path


class ImageStore:
    """Images that the page may show: uploads, a bounded number, and files of the server.

    Args:
        folder: where uploads are stored.
        max_bytes: the largest upload accepted, in bytes.
        max_uploads: how many are stored; of more, those used least recently are removed.
        max_pixels: refuse images with more pixels than this, and uploads with more than
            `MAX_UPLOAD_PIXELS`.
    """

    def __init__(self, folder: Path, max_bytes: int, max_uploads: int, max_pixels: int):
        self._folder, self._max_bytes, self._max_uploads = folder, max_bytes, max_uploads
        self._max_pixels = max_pixels
        self._files: dict[str, StoredImage] = {}
        self._uploads: OrderedDict[str, StoredImage] = OrderedDict()
        self._jpegs: LRUCache[tuple[str, int], bytes] = LRUCache(_JPEG_CACHE_BYTES, len)
        self._lock = threading.Lock()

    def add(self, path: Path, name: str) -> StoredImage:
        """Register a file of the server, to be shown for as long as the server runs."""
        image = StoredImage(secrets.token_urlsafe(12), printable(name), path)
        self._files[image.id] = image
        return image

    async def receive(self, chunks: AsyncIterator[bytes], name: str) -> StoredImage:
        """Store an image that a client uploads.

        Args:
            chunks: the file, piece by piece; only one is held in memory at a time.
            name: what the client calls it; never used as a path.

        Raises:
            UploadTooLarge: it has too many bytes.
            HomologError: its first bytes are not those of an image.
        """
        id = secrets.token_urlsafe(12)
        image = StoredImage(id, display_name(name), self._folder / id)
        received, accepted = 0, False
        try:
            with image.path.open("xb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > self._max_bytes:
                        raise UploadTooLarge(
                            f"{image.name}: expected at most {self._max_bytes:,} bytes, got more"
                        )
                    file.write(chunk)
            with image.path.open("rb") as file:
                if formats.of_start(file.read(formats.START)) is None:
                    raise HomologError(f"{image.name}: expected {_FORMATS}, got another file")
            accepted = True
        finally:
            if not accepted:
                image.path.unlink(missing_ok=True)
        with self._lock:
            self._uploads[image.id] = image
            while len(self._uploads) > self._max_uploads:
                _, dropped = self._uploads.popitem(last=False)
                dropped.path.unlink(missing_ok=True)
        return image

    def check(self, image: StoredImage) -> None:
        """Refuse an upload that takes too much memory, before anything is decoded.

        Raises:
            HomologError: it does, or cannot be read.
        """
        with hide_path(image):
            reading.check_decodable(image.path, max_pixels=self._limit(image))

    def remove(self, image: StoredImage) -> None:
        """Remove an upload and its file."""
        with self._lock:
            self._uploads.pop(image.id, None)
        image.path.unlink(missing_ok=True)

    def __getitem__(self, id: str) -> StoredImage:
        with self._lock:
            if id in self._uploads:
                self._uploads.move_to_end(id)
                return self._uploads[id]
        if id not in self._files:
            raise UnknownImage("image: expected one of this server's, got one it no longer has; "
                               "try to load it again")  # fmt: skip
        return self._files[id]

    def size(self, image: StoredImage) -> tuple[int, int]:
        """Width and height of an upright image, in pixels.

        Raises:
            HomologError: it cannot be read.
        """
        with hide_path(image):
            return reading.image_size(image.path, max_pixels=self._limit(image))

    def as_jpeg(self, image: StoredImage, max_edge: int) -> bytes:
        """An upright JPEG of an image, as a browser can show it; for one thread only.

        Args:
            image: the image.
            max_edge: length of the longer edge at most, in pixels.

        Raises:
            HomologError: it cannot be read.
        """

        def encode() -> bytes:
            longest_edge = min(max_edge, max(self.size(image)))
            with hide_path(image):
                loaded = reading.load_image(
                    image.path, longest_edge=longest_edge, max_pixels=self._limit(image)
                )
            buffer = io.BytesIO()
            loaded.image.save(buffer, "JPEG", quality=90)
            return buffer.getvalue()

        return self._jpegs.get((image.id, max_edge), encode)

    def _limit(self, image: StoredImage) -> int:
        """Pixels that an image may have: of uploads, fewer."""
        if image.id in self._files:
            return self._max_pixels
        return min(self._max_pixels, MAX_UPLOAD_PIXELS)


@contextmanager
def hide_path(image: StoredImage) -> Iterator[None]:
    """Replace the path of an image by its name in errors: clients are not shown paths."""
    try:
        yield
    except HomologError as error:
        raise HomologError(str(error).replace(str(image.path), image.name)) from None


def display_name(name: str) -> str:
    """A client's file name made fit to be shown: one line, not too long, without folders."""
    shown = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    return shown.strip()[-_MAX_NAME_LENGTH:] or "image"
