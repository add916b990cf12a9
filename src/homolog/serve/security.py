"""Who may ask, and what is said along with every answer."""

from __future__ import annotations

import json
import logging
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "homolog"
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
# Followed from here, the way in is the page's own; browsers withhold a strict cookie from a
# redirect that began elsewhere.
_WAY_IN = (
    b'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    b"<title>homolog</title>"
)


class Guard:
    """Lets through what comes from the page itself, and answers everything else in one line.

    Args:
        app: what is guarded.
        hosts: the names that the server may be called by, which keeps other sites from reaching
            it under a name of theirs; None for any.
        token: what a client has to show; None for nothing. `/?token=` turns it into a cookie.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str | None):
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await _answer(send_guarded, *refused)
            return
        if self._token is not None and not self._known(scope):
            if self._shows_token(scope):
                cookie = f"{_COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                headers = {"content-type": "text/html; charset=utf-8", "set-cookie": cookie}
                await _answer(send_guarded, 200, _WAY_IN, headers)
            else:
                what = "token: open the address that homolog serve has printed"
                await _answer(send_guarded, 401, what)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            logging.getLogger("uvicorn.error").exception("while answering %s", scope["path"])
            if not begun:
                await _answer(send_guarded, 500, "server: something went wrong, its log says what")

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, if it does not come from where it may."""
        host = _header(scope, b"host")
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            return 421, "host: this server does not go by that name"
        site, origin = _header(scope, b"sec-fetch-site"), _header(scope, b"origin")
        if scope["path"].startswith("/api/") or scope["method"] not in ("GET", "HEAD"):
            if site not in ("", "same-origin", "none"):
                return 403, "origin: only this server's own page may ask"
            if origin and urlsplit(origin).netloc.lower() != host.lower():
                return 403, "origin: only this server's own page may ask"
        return None

    def _known(self, scope: Scope) -> bool:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(_header(scope, b"cookie"))
        except CookieError:
            return False
        return _COOKIE in cookies and self._same(cookies[_COOKIE].value)

    def _shows_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return scope["path"] == "/" and self._same(given)

    def _same(self, given: str) -> bool:
        assert self._token is not None
        return secrets.compare_digest(given.encode(), self._token.encode())


def _header(scope: Scope, name: bytes) -> str:
    """A header's value; of several one that equals none, so that none is taken for another."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return values[0] if len(values) == 1 else ", ".join(values)


def _name(address: str) -> str | None:
    """The host that an address names, without its port."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _answer(
    send: Send, status: int, body: str | bytes, headers: dict[str, str] | None = None
) -> None:
    if isinstance(body, str):
        body = json.dumps({"detail": body}).encode()
    lines = {"content-type": "application/json", "cache-control": "no-store"} | (headers or {})
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
