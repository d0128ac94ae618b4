"""Models as folders to share, and the Hugging Face hub, where such folders are repositories."""

from __future__ import annotations

from elboroom.hub.fetching import fetched, is_shared
from elboroom.hub.folder import write_folder
from elboroom.hub.pushing import push

__all__ = ["fetched", "is_shared", "push", "write_folder"]
