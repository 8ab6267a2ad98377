"""Two charts of loss and validation mIoU over twelve epochs, with a line for each learning rate; docs/gallery.md contains its code."""

import functools

from docs.gallery import picture

draw = functools.partial(picture, __name__)
