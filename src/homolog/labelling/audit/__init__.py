"""Audits: labels and tracks that contradict the others."""
