"""Trained networks on top of frozen features."""
