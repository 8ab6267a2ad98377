"""A recipe from a folder of one's own data: what `kseg init` does."""

from kseg.data.drafting._draft import Draft, draft

__all__ = ["Draft", "draft"]
