"""Which files belong to a data set: folders, patterns, lists and shares of images."""
