"""`python -m archiver` and the command `stem-archiver`."""

from archiver.cli import main

if __name__ == "__main__":
    main()
