"""Six augmented versions of a drawn street above their label maps; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
