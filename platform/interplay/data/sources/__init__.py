"""Where images and labels come from before they are written to a `.beton`: one kind per file."""

from interplay.data.sources.arrow import arrow_files
from interplay.data.sources.cifar import cifar
from interplay.data.sources.find import KINDS, find_source
from interplay.data.sources.folder import image_folder
from interplay.data.sources.npz import npz
from interplay.data.sources.samples import from_rows, from_samples
from interplay.data.sources.scans import digits
from interplay.data.sources.shards import shards
from interplay.data.sources.source import Source, Stored, read_names
from interplay.data.sources.table import csv_table

__all__ = [
    "KINDS",
    "Source",
    "Stored",
    "arrow_files",
    "cifar",
    "csv_table",
    "digits",
    "find_source",
    "from_rows",
    "from_samples",
    "image_folder",
    "npz",
    "read_names",
    "shards",
]
