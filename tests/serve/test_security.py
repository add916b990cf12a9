"""Which requests are answered: none for paths, none of other sites, none without the token."""

import pytest
from helpers.serve import HOME, client, png, upload
from helpers.toys import random_image

PATHS = (
    "/api/pictures/..%2f..%2fetc%2fpasswd/image", "/api/pictures/%2fetc%2fpasswd/image",
    "/api/pictures/http:%2f%2flocalhost/image", "/static/..%2fapp.py", "/static/%2e%2e/app.py",
    "/static//etc/passwd", "/etc/passwd", "/..%2f..%2fetc/passwd", "/static/app.py",
    "/openapi.json", "/docs", "/api/pictures/file:%2f%2f%2fetc%2fpasswd/size",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_and_no_address(page, path):
    answer = page.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["detail"]


def test_security_headers(page):
    for path in ("/", "/api/start", "/static/app.js", "/nothing"):
        headers = page.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_other_host_names(page, host):
    answer = page.get("/api/start", headers={"host": host})
    assert answer.status_code == 421 and "detail" in answer.json()


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_own_host_names(page, host):
    assert page.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites(plain, headers):
    assert upload(plain, png(random_image(9, 9)), headers=headers).status_code == 403
    assert plain.get("/api/start", headers=headers).status_code == 403


def test_the_page_itself(page):
    headers = {"origin": HOME, "sec-fetch-site": "same-origin"}
    assert page.get("/api/start", headers=headers).status_code == 200
    assert page.get("/", headers={"sec-fetch-site": "none"}).status_code == 200


def test_a_token(colour_matcher):
    with client(colour_matcher, hosts=None, token="secret") as page:
        for path in ("/", "/api/start", "/static/app.js", "/?token=wrong", "/?token="):
            answer = page.get(path)
            assert answer.status_code == 401 and "detail" in answer.json()
        assert page.get("/", headers={"cookie": "homolog=wrong"}).status_code == 401
        assert page.get("/api/start?token=secret").status_code == 401
        cookie = page.get("/?token=secret").headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert page.get("/api/start").status_code == 200
