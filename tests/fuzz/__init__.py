"""Damaged files of every kind: each is read, or refused with one line, soon, in little memory."""
