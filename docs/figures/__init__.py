"""The scripts that draw the pictures of the site: `python -m docs.figures` draws all of them into `docs/images`.

Each module draws one picture: its function `draw()` returns a `matplotlib` figure, which becomes `images/MODULE.svg`,
or an RGB array `(height, width, 3)` of uint8, which becomes `images/MODULE.png`. Colors and fonts are in `style.py`.
The blocks of `docs/gallery.md` draw the pictures of the gallery.
"""
