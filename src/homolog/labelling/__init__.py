"""Carry keypoint labels from a few images to many."""
