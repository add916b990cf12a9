"""Bodies of requests, read within limits of bytes and time, however slowly a client sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

UPLOAD = "/api/pictures"
"""The one route that takes more than a few lines of JSON; it has a limit of its own."""

MAX_BYTES = 2**20  # of a body that is no upload
MAX_HELD = 2**25  # of all these bodies that are being received
MAX_UPLOADS = 32  # at a time
SECONDS = 30.0  # for a body, and more for those that keep coming at this rate
BYTES_PER_SECOND = 16_000

_SLOW = "request: expected its body within {:.3g} seconds, got a part of it"
_BUSY = "server: expected fewer requests at a time, got more; try again later"


class BodyLimits:
    """Limits on what a server receives; one for all of its requests."""

    def __init__(self) -> None:
        self._held = self._uploads = 0

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count an upload while it lasts.

        Raises:
            HTTPException: there are too many.
        """
        if self._uploads >= MAX_UPLOADS:
            raise HTTPException(503, _BUSY)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def read(self, scope: Scope, body: TimedBody) -> bytes:
        """The whole body of a request that is no upload.

        Args:
            scope: of the request.
            body: which is read.

        Raises:
            HTTPException: it is too large, too slow or cut off, or too many are being received.
        """
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > MAX_BYTES:
            raise _too_large()
        parts: list[bytes] = []
        received = 0
        try:
            while not body.complete:
                message = await body()
                if message["type"] == "http.disconnect":
                    raise HTTPException(400, "request: expected its whole body, got a part of it")
                part = message.get("body", b"")
                received += len(part)
                self._held += len(part)
                parts.append(part)
                if received > MAX_BYTES:
                    raise _too_large()
                if self._held > MAX_HELD:
                    raise HTTPException(503, _BUSY)
            return b"".join(parts)
        finally:
            self._held -= received


class TimedBody:
    """Receives the body of a request; a client that sends it too slowly is not waited for.

    Attributes:
        complete: whether it has been received.

    Args:
        receive: the server's.
    """

    def __init__(self, receive: Receive):
        self._receive = receive
        self._received = 0
        self._start: float | None = None
        self.complete = False

    async def __call__(self) -> Message:
        """The next message of the server.

        Raises:
            HTTPException: the body comes too slowly.
        """
        if self.complete:  # what comes now is that the client has left
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        allowed = SECONDS + self._received / BYTES_PER_SECOND
        try:
            message = await asyncio.wait_for(self._receive(), self._start + allowed - now)
        except TimeoutError:
            raise HTTPException(408, _SLOW.format(allowed)) from None
        self._received += len(message.get("body", b""))
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def replay(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already, and then what the server has to say."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _too_large() -> HTTPException:
    return HTTPException(413, f"request: expected a body of at most {MAX_BYTES:,} bytes, got more")
