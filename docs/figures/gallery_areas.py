"""A drawn street with a label map over it; the legend states the area of each class; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
