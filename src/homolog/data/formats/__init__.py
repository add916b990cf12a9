"""Label and annotation files, one module a format."""
