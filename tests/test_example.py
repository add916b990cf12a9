"""The example pair that comes with the package."""

from PIL import Image

from homolog.example import pair
from homolog.image.points import as_points


def test_the_keypoints_lie_in_the_images():
    with pair() as example:
        for path, keypoints in (
            (example.image0, example.keypoints0),
            (example.image1, example.keypoints1),
        ):
            with Image.open(path) as image:
                assert min(image.size) >= 480
                as_points(keypoints, image.size)
            assert len(keypoints) == len(example.schema) == len(example.visible)
    assert example.visible.sum() >= 10
    left = [i for i, name in enumerate(example.schema.names) if name.startswith("left")]
    assert all(example.schema.names[example.schema.mirror[i]].startswith("right") for i in left)
