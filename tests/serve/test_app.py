"""The server as a whole: its folder of images, and errors of one line."""

import pytest
from helpers.serve import client
from helpers.toys import random_image

from homolog import HomologError


def test_images_of_a_folder_have_ids(colour_matcher, tmp_path):
    (tmp_path / "below").mkdir()
    random_image(50, 40).save(tmp_path / "below" / "a.png")
    with client(colour_matcher, folder=tmp_path) as page:
        (found,) = page.get("/api/start").json()["folder"]
        assert found["name"] == "below/a.png" and str(tmp_path) not in found["id"]
        assert page.get(f"/api/pictures/{found['id']}/thumbnail").status_code == 200
        assert page.get(f"/api/pictures/{found['id']}").json()["width"] == 50


def test_a_folder_without_images(colour_matcher, tmp_path):
    with (
        pytest.raises(HomologError, match="folder: expected a folder of images"),
        client(colour_matcher, folder=tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/pairs/a/b/identity", 404),
        ("/api/pairs/{0}/{1}/rotate17", 400),
        ("/api/pairs/{0}/{1}/identity/point", 422),
        ("/api/pairs/{0}/{1}/identity/point?source=2&x=1&y=1", 400),
        ("/api/pairs/{0}/{1}/identity/point?source=0&x=nan&y=1", 400),
        ("/api/pairs/{0}/{1}/identity/point?source=0&x=inf&y=1", 400),
        ("/api/pairs/{0}/{1}/identity/point?source=0&x=641&y=1", 400),
        ("/api/pictures", 405),
        ("/api/review", 404),
    ],
)
def test_errors_are_one_line(page, ids, path, status):
    answer = page.get(path.format(*ids))
    assert answer.status_code == status
    assert "\n" not in answer.json()["detail"]


def test_no_traceback(colour_matcher, monkeypatch, caplog):
    with client(colour_matcher) as page:
        ids = page.get("/api/start").json()["example"]
        monkeypatch.setattr(page.app.state.homolog.service, "pack", lambda *_: 1 / 0)
        answer = page.get(f"/api/pairs/{ids[0]}/{ids[1]}/identity")
        assert answer.status_code == 500
        assert "Traceback" not in answer.text and "division" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError" in caplog.text
