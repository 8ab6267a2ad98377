"""Three drawn streets in rows, with their labels and the predictions of fcn8, fpn and unet; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
