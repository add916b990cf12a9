"""Formats of tools for poses: SLEAP, DeepLabCut, NWB and Label Studio."""
