"""Helpers that know nothing of images or correspondence."""
