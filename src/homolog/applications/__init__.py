"""What dense and sparse correspondences are used for: warping, averaging, tracking."""
