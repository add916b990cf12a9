"""Data sets: annotated images and pairs of them, read from the layouts they are published in."""

from typing import Any

from homolog import moved
from homolog.data.pairs import Annotation, DataSet, LazyPairs, Pair
from homolog.data.reading import ErrorCollector

__all__ = ["Annotation", "DataSet", "ErrorCollector", "LazyPairs", "Pair"]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
