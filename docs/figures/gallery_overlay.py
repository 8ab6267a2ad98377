"""An overlay with a legend; docs/gallery.md contains the code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
