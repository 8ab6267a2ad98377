"""The files of kseg's released weights, one folder per model; `kseg.pretrained` finds them by an entry point."""

import pathlib

FOLDER = pathlib.Path(__file__).parent
