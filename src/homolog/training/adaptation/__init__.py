"""Adaptation: a matcher learns from images that nobody labelled.

The matcher's own matches, where they are consistent, are pseudo-labels for a small head that is
then mixed with the zero-shot similarity. After DIY-SC (Dünkel et al., 2025), whose head is trained
on one data set; here for any folder.
"""
