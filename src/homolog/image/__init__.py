"""Images and the geometry of points on them."""
