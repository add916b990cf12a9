"""Drawings of images, matches and charts."""
