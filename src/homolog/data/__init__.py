"""Data sets: each reads an official layout as it is on disk, and yields the same `Pair`s."""

from homolog.data.pairs import Annotation, DataSet, ErrorCollector, Pair

__all__ = ["Annotation", "DataSet", "ErrorCollector", "Pair"]
