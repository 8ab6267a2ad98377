"""Six panels of a drawn street; in each, the pixels of one class are in color; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
