"""Where the codes lie on a map, and what the axes mean."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from elboroom.errors import UsageError
from elboroom.explorer.blob import Array
from elboroom.latent.planes import principal_directions


@dataclass(frozen=True)
class Map:
    """A map of codes (n, d).

    Attributes
    ----------
    name : str
        What the page calls it.
    axes : (str, str)
        Names of the axes.
    centre : array or None
        Code (d,) at the origin; None if places on the map have no code of their own, as with UMAP.
    directions : array or None
        (2, d), orthonormal: a code's place is its product with these, after ``centre`` is subtracted.
    places : array or None
        (n, 2), only where there are no directions.
    """

    name: str
    axes: tuple[str, str]
    centre: Array | None = None
    directions: Array | None = None
    places: Array | None = None


def plane_map(codes: Array) -> Map:
    """One or two dimensions as they are; of more, the first two principal components."""
    d = codes.shape[1]
    if d <= 2 or len(codes) < 3:
        names = ("z0", "z1" if d > 1 else "")
        directions = np.eye(2, d, dtype=np.float32)
        return Map("codes", names, np.zeros(d, np.float32), directions)
    mean, directions, (first, second) = principal_directions(codes)
    names = (f"principal component 1 ({first:.0%} of variance)", f"principal component 2 ({second:.0%})")
    return Map("principal components", names, mean.astype(np.float32), directions.astype(np.float32))


def umap_map(codes: Array, seed: int = 0) -> Map:
    """UMAP, which keeps neighbours together (arXiv:1802.03426); for codes of more than two dimensions.

    Raises
    ------
    UsageError
        If the package umap-learn is not installed.
    """
    try:
        umap = import_module("umap")
    except ImportError:
        raise UsageError("a UMAP map needs umap-learn: pip install 'elboroom[umap]'") from None
    near = max(2, min(15, len(codes) - 1))
    places = umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(codes)
    return Map("UMAP", ("UMAP 1", "UMAP 2"), places=np.asarray(places, np.float32))
