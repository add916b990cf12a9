"""Labelling: keypoints transferred from a few labelled images to many."""
