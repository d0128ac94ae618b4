"""Published results trained again: entries as data, one command for each, and a record of what came out."""

from elboroom.reproduction.entries import ENTRIES
from elboroom.reproduction.entry import Entry, Row, find_entry

__all__ = ["ENTRIES", "Entry", "Row", "find_entry"]
