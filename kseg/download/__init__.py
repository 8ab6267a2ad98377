"""Fetch, verify, unpack: a data set or a weight file is there whole or not at all."""

from kseg.download.files import fetch, file_sha256, is_whole, writing
from kseg.download.folders import fetch_folder, find, folder_sha256
from kseg.download.transfer import TransferError, download, home

__all__ = [
    "TransferError",
    "download",
    "fetch",
    "fetch_folder",
    "file_sha256",
    "find",
    "folder_sha256",
    "home",
    "is_whole",
    "writing",
]
