"""Centre crops of images that are stored larger, of which training takes crops at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from elboroom.config.shapes import Sides
from elboroom.data.rows import Array, Joined, RowReader, Rows


class Centred(Joined):
    """Images ``(n, h, w, c)`` as their centre crops ``(n, height, width, c)``, with nothing copied.

    Rows are cut when they are asked for, and read from the files behind the images where there are any.

    Parameters
    ----------
    stored : numpy.ndarray or Joined
        The images, at least as large as the crop. It remains in the attribute of this name.
    sides : (int, int)
        Height and width of the crop. Where the rest is odd, one more pixel is left out at the bottom or at
        the right.

    Examples
    --------
    >>> x = np.arange(25).reshape(1, 5, 5, 1)
    >>> Centred(x, Sides(1, 2))[0][:, :, 0].tolist()
    [[11, 12]]
    """

    def __init__(self, stored: Array | Joined, sides: Sides):
        self.stored = stored
        self.sides = sides
        parts = stored.parts if isinstance(stored, Joined) else (stored,)
        super().__init__([centre(part, *sides) for part in parts])

    def take(self, rows: Rows) -> Array:
        """Rows by number; read from the files of the stored images, as their maps would fill the memory."""
        reader = RowReader(self.stored)
        if not reader.from_file:
            return super().take(rows)
        found = np.empty((len(rows), *self.stored.shape[1:]), self.dtype)
        reader.read([rows], [found])
        return centre(found, *self.sides)


def centre(x: Any, height: int, width: int) -> Any:
    """Centre crops ``(b, height, width, c)`` of images (b, h, w, c), as a view; see :class:`Centred`."""
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


def stored_of(x: Any) -> Any:
    """The images that centre crops are cut from; other arrays as they are."""
    return x.stored if isinstance(x, Centred) else x
