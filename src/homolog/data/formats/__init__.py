"""Annotation file formats, one module each."""
