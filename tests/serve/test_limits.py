"""Slow, large and many requests: each is answered or cut off, and none fills memory."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from helpers.serve import png, upload
from helpers.toys import random_image
from starlette.testclient import WebSocketDenialResponse

from homolog.serve import bodies, connections, security

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/x HTTP/1.1\r\nHost: localhost\r\n"


async def echo(scope, receive, send):
    """An application that says how many bytes it was sent; or as many as the path says."""
    if scope["type"] != "http":
        return
    received, more = 0, True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    length = scope["path"].removeprefix("/bytes/")
    body = bytes(int(length)) if length.isdecimal() else str(received).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch) -> Iterator[int]:
    """Where the application listens behind the guard, with limits that take no time to reach."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(bodies, "SECONDS", 0.3)
    app = security.Guard(echo, frozenset({"localhost"}), None)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=connections.GuardedProtocol, ws="none", log_level="warning", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


@contextmanager
def connect(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def answer(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a server answers until it closes or has said all."""
    content = b""
    while part := client.recv(2**20):
        content += part
        head, found, body = content.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:]) if found else {}
        if found and len(body) >= int(headers.get("content-length", "0")):
            break
    assert content, "closed without an answer"
    return int(lines[0].split()[1]), headers, body


def assert_guarded(headers):
    assert headers["x-content-type-options"] == "nosniff" and "content-security-policy" in headers


def test_requests_are_answered_one_after_the_other(port):
    with connect(port) as client:
        for _ in range(3):
            client.sendall(GET)
            status, headers, body = answer(client)
            assert (status, body) == (200, b"0")
            assert_guarded(headers)
        client.sendall(POST + b"Content-Length: 5\r\n\r\nabc")
        client.sendall(b"de")
        assert answer(client)[::2] == (200, b"5")


def test_headers_that_do_not_come(port):
    with connect(port) as silent, connect(port) as slow, connect(port) as second:
        second.sendall(GET)
        assert answer(second)[0] == 200
        slow.sendall(GET[:20])
        second.sendall(GET[:20])
        for client in (slow, second):
            status, headers, body = answer(client)
            assert status == 408 and "0.3 seconds" in json.loads(body)["detail"]
            assert headers["connection"] == "close"
            assert_guarded(headers)
        assert silent.recv(1) == b""


def test_a_body_that_does_not_come(port):
    with connect(port) as client:
        client.sendall(POST + b"Content-Length: 9\r\n\r\nabc")
        began = time.monotonic()
        status, headers, body = answer(client)
        assert status == 408 and "0.3 seconds" in json.loads(body)["detail"]
        assert 0.2 < time.monotonic() - began < 5
        assert_guarded(headers)
        assert client.recv(1) == b"", "the connection is closed"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large(port, announced):
    with connect(port) as client:
        if announced:
            client.sendall(POST + b"Content-Length: 60000000\r\n\r\n")
        else:
            client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = bytes(2**16)
            for _ in range(17):
                client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        status, headers, body = answer(client)
        assert status == 413 and "1,048,576 bytes" in json.loads(body)["detail"]
        assert headers["connection"] == "close"
        assert_guarded(headers)


def test_an_answer_that_is_not_taken(port):
    with connect(port) as client:
        client.sendall(GET.replace(b"/ ", b"/bytes/50000000 "))
        time.sleep(1.0)
        received = 0
        with pytest.raises(ConnectionResetError):
            while part := client.recv(2**20):
                received += len(part)
            raise ConnectionResetError
        assert received < 50_000_000


def test_a_slow_answer_is_sent_to_its_end(port, monkeypatch):
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.1)
    with connect(port) as client:
        client.sendall(GET.replace(b"/ ", b"/bytes/20000000 "))
        received = 0
        while received < 20_000_000:
            received += len(client.recv(1_000_000))
            time.sleep(0.02)


def test_the_longest_idle_of_many_connections_gives_way(port):
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(8)]
    try:
        with connect(port) as client:
            client.sendall(GET)
            assert answer(client)[0] == 200
            with pytest.raises(ConnectionResetError):
                raise ConnectionResetError if idle[0].recv(1) == b"" else AssertionError
    finally:
        for each in idle:
            each.close()


def test_many_bodies_at_a_time(port, monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 5)
    monkeypatch.setattr(bodies, "MAX_HELD", 100_000)
    with connect(port) as first, connect(port) as second:
        first.sendall(POST + b"Content-Length: 60001\r\n\r\n" + bytes(60_000))
        time.sleep(0.1)
        second.sendall(POST + b"Content-Length: 60000\r\n\r\n" + bytes(60_000))
        assert answer(second)[0] == 503
        first.sendall(b"x")
        assert answer(first)[::2] == (200, b"60001")


@pytest.mark.parametrize("content", [b"\x16\x03\x01\x02junk\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_request(port, content):
    with connect(port) as client:
        client.sendall(content)
        status, headers, _ = answer(client)
        assert status == 400
        assert_guarded(headers)


def test_a_websocket(port):
    with connect(port) as client:
        client.sendall(
            b"GET /api/start HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        status, headers, body = answer(client)
        assert status == 400 and "upgrade: expected HTTP" in json.loads(body)["detail"]
        assert_guarded(headers)


def test_head(plain):
    for path in ("/", "/static/app.js", "/api/start"):
        whole, head = plain.get(path), plain.head(path)
        assert head.status_code == 200 and head.content == b""
        assert head.headers == whole.headers
    assert plain.head("/nothing").status_code == 404


def test_corrections_are_small_and_uploads_few(plain, monkeypatch):
    answer = plain.post("/api/review", content=bytes(2**20 + 1))
    assert answer.status_code == 413 and answer.headers["x-frame-options"] == "DENY"
    monkeypatch.setattr(bodies, "MAX_UPLOADS", 0)
    assert upload(plain, png(random_image(9, 9))).status_code == 503


@pytest.mark.parametrize("origin", ["http://[::1", "http://[v1.x]:8000", "http://\u2100.example"])
def test_an_origin_that_is_no_address(plain, origin):
    answer = plain.get("/api/start", headers={"origin": origin.encode()})
    assert answer.status_code == 403 and answer.headers["x-frame-options"] == "DENY"


def test_servers_that_take_websockets_by_themselves(plain):
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        plain.websocket_connect("/api/start"),
    ):
        pass
    assert denied.value.status_code == 400
    assert_guarded(denied.value.headers)
