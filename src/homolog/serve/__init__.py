"""The page: two pictures side by side, and labels to be reviewed, in a browser."""

from homolog.serve.app import Options, create_app

__all__ = ["Options", "create_app"]
