"""Runs the command as a module: `python -m homolog`, or `torchrun -m homolog`."""

from homolog.cli import main

if __name__ == "__main__":
    main()
