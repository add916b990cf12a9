"""Formats of geometric morphometrics: specimens with numbered landmarks, and curves."""
