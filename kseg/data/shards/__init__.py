"""Containers of many images: packed shards, and files that others wrote."""

from kseg.data.shards._dataset import ShardDataset
from kseg.data.shards.cache import CACHE_LIMIT
from kseg.data.shards.encoding import meaning_of, record_of
from kseg.data.shards.index import FILE, Index, Shard
from kseg.data.shards.places import Place
from kseg.data.shards.records import Record
from kseg.data.shards.writer import Writer

__all__ = [
    "CACHE_LIMIT", "FILE", "Index", "Place", "Record", "Shard", "ShardDataset", "Writer", "meaning_of", "record_of",
]  # fmt: skip
