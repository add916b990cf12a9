"""Which requests are answered, and the security headers of every answer."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homolog.serve.bodies import UPLOAD, BodyLimits, TimedBody, replay

_COOKIE = "homolog"
_CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
"""Headers of every answer."""

_NO_TOKEN = "token: expected the token that homolog serve has printed, got another or none"
_FOREIGN = "origin: expected this server's own page, got another site"
_UPGRADE = "upgrade: expected HTTP, got another protocol"
_FAILED = "server: expected an answer, got an error; try its log for the reason"
# The page redirects to itself: browsers withhold a strict cookie from a redirect that began
# elsewhere.
_REDIRECT = (
    b'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    b"<title>homolog</title>"
)


class Guard:
    """ASGI middleware that lets the page's own requests through, and rejects all others.

    Args:
        app: the application that is guarded.
        hosts: host names that requests may be addressed to, which keeps other sites from reaching
            the server under a name of theirs (DNS rebinding); None for any.
        token: the secret that a client has to present; None for none. `/?token=` stores it in a
            cookie.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str | None):
        self._app, self._hosts, self._token = app, hosts, token
        self._limits = BodyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request, or pass it on to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, receive, send)
        else:
            await self._answer(scope, TimedBody(receive), send)

    async def _answer(self, scope: Scope, body: TimedBody, send: Send) -> None:
        started, is_head = False, scope["method"] == "HEAD"

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_encoded(HEADERS)]
                if not body.complete:  # the rest is not waited for
                    message["headers"].append((b"connection", b"close"))
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        rejected = self._rejection(scope)
        if rejected is not None:
            await _respond(send_guarded, *rejected)
            return
        if self._token is not None and not self._has_cookie(scope):
            if self._has_token(scope):
                cookie = f"{_COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                headers = {"content-type": "text/html; charset=utf-8", "set-cookie": cookie}
                await _respond(send_guarded, 200, _REDIRECT, headers)
            else:
                await _respond(send_guarded, 401, _NO_TOKEN)
            return
        if is_head:
            scope = {**scope, "method": "GET"}
        try:
            if scope["path"] == UPLOAD and scope["method"] == "POST":
                with self._limits.upload():
                    await self._app(scope, body, send_guarded)
            else:
                content = await self._limits.read(scope, body)
                await self._app(scope, replay(content, body), send_guarded)
        except HTTPException as error:
            await _respond(send_guarded, error.status_code, error.detail)
        except Exception:
            logging.getLogger("uvicorn.error").exception("error while answering %s", scope["path"])
            if not started:
                await _respond(send_guarded, 500, _FAILED)

    def _rejection(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, if a request is not to this server or not from its own page."""
        host = _header(scope, b"host")
        if self._hosts is not None and _host_name(f"//{host}") not in self._hosts:
            return 421, "host: expected a name of this server, got another"
        site, origin = _header(scope, b"sec-fetch-site"), _header(scope, b"origin")
        if scope["path"].startswith("/api/") or scope["method"] not in ("GET", "HEAD"):
            if site not in ("", "same-origin", "none"):
                return 403, _FOREIGN
            if origin and _netloc(origin) != host.lower():
                return 403, _FOREIGN
        if "websocket" in _header(scope, b"upgrade").lower():
            return 400, _UPGRADE
        return None

    def _has_cookie(self, scope: Scope) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(_header(scope, b"cookie"))
        except CookieError:
            return False
        return _COOKIE in cookies and self._matches_token(cookies[_COOKIE].value)

    def _has_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return scope["path"] == "/" and self._matches_token(given)

    def _matches_token(self, given: str) -> bool:
        assert self._token is not None
        return secrets.compare_digest(given.encode(), self._token.encode())


def _header(scope: Scope, name: bytes) -> str:
    """A header's value; several are joined, so that none of them is taken for the header."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return values[0] if len(values) == 1 else ", ".join(values)


def _netloc(origin: str) -> str | None:
    """The host and port that an origin names."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _host_name(address: str) -> str | None:
    """The host name in an address, without the port."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a server that takes WebSockets by itself."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})  # status 403
        return

    async def send_response(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await _respond(send_response, 400, _UPGRADE, HEADERS)


async def _respond(
    send: Send, status: int, body: str | bytes, headers: Mapping[str, str] | None = None
) -> None:
    if isinstance(body, str):
        body = json.dumps({"detail": body}).encode()
    lines = {
        "content-type": "application/json", "cache-control": "no-store",
        "content-length": str(len(body)), **(headers or {}),
    }  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": _encoded(lines)})
    await send({"type": "http.response.body", "body": body})
