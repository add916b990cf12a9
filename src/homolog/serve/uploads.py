"""The pictures that the page may show, by random ids: nobody names a path."""

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
from homolog.image import reading
from homolog.utils.lru_cache import LRUCache

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_TAKES = "takes a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP picture"
_SHOWN_MEMORY = 64 * 2**20  # bytes of JPEG kept ready
_LONGEST_NAME = 120


class Unknown(HomologError):
    """There is no such picture, or it gave way to newer ones."""


class TooLarge(HomologError):
    """More bytes than are taken."""


@dataclass(frozen=True)
class Picture:
    """A picture that may be shown.

    Attributes:
        id: random; all that a client knows it by.
        name: what people call it.
        path: where it is.
    """

    id: str
    name: str
    path: Path


class ImageStore:
    """Pictures sent by clients, which give way to newer ones, and those there from the start.

    Args:
        folder: where what is sent is kept.
        max_bytes: of one picture that is sent.
        max_sent: how many are kept; of more, those not used for longest are removed.
        max_pixels: refuse pictures with more pixels than this.
    """

    def __init__(self, folder: Path, max_bytes: int, max_sent: int, max_pixels: int):
        self._folder, self._max_bytes, self._max_sent = folder, max_bytes, max_sent
        self._max_pixels = max_pixels
        self._there: dict[str, Picture] = {}
        self._sent: OrderedDict[str, Picture] = OrderedDict()
        self._shown: LRUCache[tuple[str, int], bytes] = LRUCache(_SHOWN_MEMORY, len)
        self._lock = threading.Lock()

    def add(self, path: Path, name: str) -> Picture:
        """Let a picture that is there already be shown for as long as the server runs."""
        picture = Picture(secrets.token_urlsafe(12), name, path)
        self._there[picture.id] = picture
        return picture

    async def receive(self, chunks: AsyncIterator[bytes], name: str) -> Picture:
        """Keep a picture that a client sends.

        Args:
            chunks: the file, piece by piece; no more than one is held in memory.
            name: what the client calls it; never used as a path.

        Raises:
            TooLarge: it has too many bytes.
            HomologError: it does not begin like a picture.
        """
        id = secrets.token_urlsafe(12)
        picture = Picture(id, readable(name), self._folder / id)
        received, whole = 0, False
        try:
            with picture.path.open("xb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > self._max_bytes:
                        raise TooLarge(
                            f"{picture.name}: has more than {self._max_bytes:,} bytes, the most "
                            "that is taken"
                        )
                    file.write(chunk)
            with picture.path.open("rb") as file:
                if not _is_picture(file.read(16)):
                    raise HomologError(f"{picture.name}: is no picture; {_TAKES}")
            whole = True
        finally:
            if not whole:
                picture.path.unlink(missing_ok=True)
        with self._lock:
            self._sent[picture.id] = picture
            while len(self._sent) > self._max_sent:
                _, dropped = self._sent.popitem(last=False)
                dropped.path.unlink(missing_ok=True)
        return picture

    def forget(self, picture: Picture) -> None:
        """Remove a picture that was sent."""
        with self._lock:
            self._sent.pop(picture.id, None)
        picture.path.unlink(missing_ok=True)

    def __getitem__(self, id: str) -> Picture:
        with self._lock:
            if id in self._sent:
                self._sent.move_to_end(id)
                return self._sent[id]
        if id not in self._there:
            raise Unknown("picture: it is not here any more, load it again")
        return self._there[id]

    def size(self, picture: Picture) -> tuple[int, int]:
        """Width and height of a picture, upright.

        Raises:
            HomologError: it cannot be read.
        """
        with hide_path(picture):
            return reading.size(picture.path, max_pixels=self._max_pixels, name="picture")

    def shown(self, picture: Picture, side: int) -> bytes:
        """The picture as a browser can show it: an upright JPEG; for one thread only.

        Args:
            picture: which.
            side: pixels of the longer side, at most.

        Raises:
            HomologError: it cannot be read.
        """

        def make() -> bytes:
            longest = min(side, max(self.size(picture)))
            with hide_path(picture):
                read = reading.read(
                    picture.path, side=longest, max_pixels=self._max_pixels, name="picture"
                )
            buffer = io.BytesIO()
            read.image.save(buffer, "JPEG", quality=90)
            return buffer.getvalue()

        return self._shown.get((picture.id, side), make)


@contextmanager
def hide_path(picture: Picture) -> Iterator[None]:
    """Errors call the picture what people call it: where it lies is nobody's business."""
    try:
        yield
    except HomologError as error:
        raise HomologError(str(error).replace(str(picture.path), picture.name)) from None


def readable(name: str) -> str:
    """A name that is fit to be shown: one line, not too long, without folders."""
    plain = "".join(c for c in name.replace("\\", "/").rpartition("/")[2] if c.isprintable())
    return plain.strip()[-_LONGEST_NAME:] or "picture"


def _is_picture(start: bytes) -> bool:
    """Whether a file begins like one of the kinds taken; others can start other programs."""
    if start[:4] == b"RIFF":
        return start[8:12] == b"WEBP"
    if start[4:8] == b"ftyp":
        return start[8:12] in (b"avif", b"avis", b"mif1")
    return start.startswith(_SIGNATURES)
