"""Applications of correspondences: warping, averaging, tracking."""
