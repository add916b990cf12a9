"""A remote source of models for FiftyOne's model zoo, as its documentation asks for."""

from homolog.integrations.fiftyone import download_model, load_model

__all__ = ["download_model", "load_model"]
