"""`python -m kseg.cli`, where the command `kseg` is not on the path."""

from kseg.cli import main

if __name__ == "__main__":
    main()
