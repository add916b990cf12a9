"""The command as a module, for `torchrun -m homolog`."""

from homolog.cli import main

if __name__ == "__main__":
    main()
