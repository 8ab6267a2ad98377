"""The notebooks of the site. `python -m docs.notebooks` executes them and stores their outputs."""
