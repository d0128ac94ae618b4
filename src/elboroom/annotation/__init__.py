"""Mark the faces of photos by hand, on a page that this computer serves to its own browser.

`Marks` holds the photos of a folder and writes ``landmarks.csv``, the file that ``elboroom data faces``
reads; `routes` are what the page asks for.
"""

from elboroom.annotation.marks import Marks
from elboroom.annotation.routes import routes

__all__ = ["Marks", "routes"]
