"""A heat map of eleven true classes against eleven predicted classes; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
