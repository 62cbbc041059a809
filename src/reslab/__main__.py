"""`python -m reslab`: the command line."""

from reslab.cli.main import entry_point

if __name__ == "__main__":
    entry_point()
