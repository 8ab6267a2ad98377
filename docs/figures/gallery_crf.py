"""A label map, a prediction with ragged borders, and the same prediction after a CRF; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
