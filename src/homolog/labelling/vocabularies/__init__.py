"""Vocabularies of keypoints: which keypoint of one is which of another."""
