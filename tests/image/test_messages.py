"""Damaged images are told by errors, not by what libraries print."""

import io
import random

import pytest
from helpers.toys import random_image

from homolog import HomologError
from homolog.image import messages, reading


@pytest.mark.skipif(not messages._MAPS.exists(), reason="libtiff's messages are printed here")
def test_damaged_tiff_files_are_quiet(tmp_path, capfd):
    buffer = io.BytesIO()
    random_image(50, 40).save(buffer, "TIFF", compression="tiff_lzw")
    content, chosen, refused = buffer.getvalue(), random.Random(0), 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chosen.randrange(8, len(damaged))] = chosen.randrange(256)
        (tmp_path / "a.tif").write_bytes(damaged)
        try:
            reading.load_image(tmp_path / "a.tif")
        except HomologError:
            refused += 1
    assert refused and capfd.readouterr() == ("", "")
