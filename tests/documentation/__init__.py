"""Runs the commands and the Python of README.md and docs/, as a reader would."""
