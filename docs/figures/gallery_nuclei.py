"""Bright cells on dark ground, and the same picture with an outline around each of them; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
