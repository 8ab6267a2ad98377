"""A drawn street with a predicted label map over it, and a legend of its classes; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
