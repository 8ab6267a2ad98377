"""Three heat maps of a drawn street, the probabilities of building, tree and car; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
