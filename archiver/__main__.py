"""`python -m archiver` and the command `stem-archiver`."""

from archiver.commands.app import main

if __name__ == "__main__":
    main()
