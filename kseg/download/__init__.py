"""Verified downloads: a data set or a weight file is complete or absent."""

from kseg.download.files import fetch, file_sha256, home, is_whole, locked, sha256_in_name, writing
from kseg.download.folders import fetch_folder, find, folder_sha256
from kseg.download.hub import MissingEntryError, fetch_from_hub, first_line, is_in_hub_cache
from kseg.download.transfer import TransferError

__all__ = [
    "MissingEntryError",
    "TransferError",
    "fetch",
    "fetch_folder",
    "fetch_from_hub",
    "file_sha256",
    "find",
    "first_line",
    "folder_sha256",
    "home",
    "is_in_hub_cache",
    "is_whole",
    "locked",
    "sha256_in_name",
    "writing",
]
