"""HTTP connections of clients that are slow, or many: none is waited for, and none fills memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from homolog.serve.security import HEADERS

HEADER_SECONDS = 10.0  # for the lines before the body
STALL_SECONDS = 10.0  # in which a client has to take some of an answer
MIN_PROGRESS = 10_000  # bytes of it
MAX_CONNECTIONS = 256
MAX_HELD = 2**28  # bytes of answers that clients have not taken yet

_REASONS = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


class GuardedProtocol(H11Protocol):
    """Uvicorn's HTTP protocol with limits on time, connections and bytes that are held.

    Of too many connections, that which has not asked anything for the longest time gives way; of
    too many bytes that wait to be sent, those that have waited for the longest time.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._asking: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_headers()
        if len(self.connections) > MAX_CONNECTIONS:
            waiting = [each for each in self._others() if each._asking is not None]
            if waiting:
                min(waiting, key=_asked)._end()
            else:
                self._refuse(503, "server: expected fewer connections, got more; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, whose headers are waited for until they are complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            if self._asking is not None:
                self._asking.cancel()
                self._asking = None
        elif self._asking is None:
            self._wait_for_headers()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "request: expected HTTP, got something else")

    def pause_writing(self) -> None:
        """A client does not take an answer as fast as it is sent."""
        super().pause_writing()
        self._check_progress_later()
        held = [each for each in self._others() if each._sending is not None]
        if held and self._unsent + sum(each.transport.get_write_buffer_size() for each in held) > (
            MAX_HELD
        ):
            min(held, key=_sent)._end()

    def resume_writing(self) -> None:
        """A client has taken most of an answer."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        return False  # the guard answers

    def _others(self) -> list[GuardedProtocol]:
        others = [each for each in self.connections if each is not self]
        return [each for each in others if isinstance(each, GuardedProtocol)]

    def _wait_for_headers(self) -> None:
        self._asking = self.loop.call_later(HEADER_SECONDS, self._headers_are_late)

    def _headers_are_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408, f"request: expected it within {HEADER_SECONDS:g} seconds, got a part")
        else:  # browsers connect before they have something to ask
            self._end()

    def _check_progress_later(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._sending = self.loop.call_later(STALL_SECONDS, self._check_progress)

    def _check_progress(self) -> None:
        if self.transport.get_write_buffer_size() > self._unsent - MIN_PROGRESS:
            self._end()
        else:
            self._check_progress_later()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer without asking the application, and close the connection."""
        body = json.dumps({"detail": reason}).encode()
        lines = HEADERS | {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{head}\r\n".encode() + body)
        self.transport.close()
        self._cancel()

    def _end(self) -> None:
        self.transport.abort()
        self._cancel()

    def _cancel(self) -> None:
        for timer in (self._asking, self._sending):
            if timer is not None:
                timer.cancel()
        self._asking = self._sending = None


def _asked(each: GuardedProtocol) -> float:
    """When it was last waited for, as that is when its time is over."""
    assert each._asking is not None
    return each._asking.when()


def _sent(each: GuardedProtocol) -> float:
    assert each._sending is not None
    return each._sending.when()
