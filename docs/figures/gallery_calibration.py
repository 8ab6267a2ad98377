"""A reliability diagram: bars of the accuracy in each range of confidence, below the diagonal; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
