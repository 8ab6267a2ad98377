"""A drawn street with polygons of road, sky and a car drawn as labels, and their legend; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
