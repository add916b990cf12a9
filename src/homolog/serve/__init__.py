"""The web page: match two images side by side, or review labels, in a browser."""

from homolog.serve.app import Options, create_app

__all__ = ["Options", "create_app"]
