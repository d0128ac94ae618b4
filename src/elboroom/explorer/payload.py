"""Everything that the page shows: a JSON object, and a block of arrays to which it refers by number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom import __version__
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of
from elboroom.explorer.atlas import make_atlas
from elboroom.explorer.blob import Array, Blob
from elboroom.explorer.columns import column_facts, decoded_cells
from elboroom.explorer.layers import CannotRunError, to_numpy
from elboroom.explorer.maps import Map, plane_map, umap_map
from elboroom.explorer.model import page_model
from elboroom.explorer.points import Points, class_means, collect_points, dimension_table
from elboroom.latent.arrays import evenly, seeded
from elboroom.models.fitted_prior import FittedPrior
from elboroom.models.vae import VAE
from elboroom.probability.conditional_prior import ConditionalNormal
from elboroom.runs.run import Run

_CODE_BYTES = 8 << 20  # of all codes; of longer codes there are fewer points
_EXACT_BYTES = 1 << 20  # codes of fewer bytes are kept in float32, others in float16
_MEASURED = 256  # examples that the page's error is measured with
_CHECKED = 4  # of them, whose pictures the page compares with its own
_THUMBNAIL_BYTES = {1: 650_000, 3: 2_500_000, 4: 2_500_000}  # by channels
_DRAWS, _DRAW_BYTES = 1000, 1 << 20  # most codes drawn from a fitted prior, and bytes of them
_HISTORY = 400  # most rows of the history


@dataclass(frozen=True)
class Payload:
    """Content of a page.

    Attributes
    ----------
    facts : dict
        Becomes the JSON object.
    blob : Blob
        The arrays.
    notes : list of str
        What the page does not have, and why; for the user.
    """

    facts: dict[str, Any]
    blob: Blob
    notes: list[str]


def collect(
    run: Run,
    vae: VAE,
    data: Dataset,
    rows: NDArray[np.int64],
    *,
    points: int = 10_000,
    umap: bool = False,
    served: bool = False,
    drawn_from: FittedPrior | None = None,
) -> Payload:
    """Gather what the page of a run shows.

    Parameters
    ----------
    run : Run
        Its history, metrics and configuration are shown.
    vae : VAE
        Its model.
    data : Dataset
        Examples, as the model was trained on them.
    rows : array
        Rows of the examples to choose from.
    points : int
        Most examples on the map, taken evenly.
    umap : bool
        Add a map by UMAP.
    served : bool
        The page can ask a server for what it cannot run (:mod:`elboroom.explorer.routes`).
    drawn_from : FittedPrior, optional
        A prior fitted after training; the page then shows draws from it in place of codes near the data.

    Raises
    ------
    UsageError
        If there are no rows; if the page cannot run the decoder and is not served; if UMAP is not installed.
    """
    if not len(rows):
        raise UsageError("got 0 examples for the map; choose another part of the data")
    notes: list[str] = []
    most = min(points, max(1, _CODE_BYTES // (2 * vae.latent_dim)))
    if most < min(points, len(rows)):
        notes.append(f"the map has {most:,} points: codes of {vae.latent_dim:,} numbers take much room")
    # In random order, so that the last class does not cover the others, nor alone lacks thumbnails.
    chosen = np.random.default_rng(0).permutation(rows[evenly(len(rows), most)])
    blob = Blob()
    found = collect_points(vae, data, chosen)
    facts: dict[str, Any] = {
        "format": 1,
        "elboroom": __version__,
        "name": run.path.resolve().name,
        "data": {"name": data.name, "count": len(data), "chosen": len(rows)},
        "shape": list(vae.shape),
        "latentDim": vae.latent_dim,
        "valueRange": [float(edge) for edge in vae.value_range],
        "sphere": getattr(vae.prior, "space", None) == "sphere",
        "layers": [[layer.start, layer.stop] for layer in vae.layers],
        "dims": dimension_table(vae, data, found),
        "points": _points(blob, found),
        "columns": column_facts(data, chosen),
        "classes": _classes(blob, vae, data),
        "draws": None if drawn_from is None else _draws(blob, vae, drawn_from),
        "maps": [_map(blob, each) for each in _maps(found.codes, umap)],
        "condition": _condition(blob, vae),
        "preparation": run.preparation.to_json(),
        "levels": {
            "threshold": run.config.data.binarize == "threshold",
            "spacing": getattr(vae.likelihood, "spacing", None),
        },
        **_record(run),
    }
    facts["atlas"] = _atlas(blob, vae, data, found, notes)
    facts |= _model(blob, vae, data, found, notes, served=served)
    return Payload(facts, blob, notes)


def _points(blob: Blob, found: Points) -> dict[str, Any]:
    exact = found.codes.nbytes <= _EXACT_BYTES
    codes = found.codes if exact else found.codes.astype(np.float16)
    entry: dict[str, Any] = {
        "count": len(codes),
        "codes": blob.add(codes),
        "rows": blob.add(found.rows.astype(np.int32)),
        "labels": None if found.labels is None else blob.add(found.labels.astype(np.int32)),
        "labelNames": found.label_names,
        "names": found.names,
    }
    entry["conditions"] = None if found.conditions is None else blob.add(found.conditions)
    return entry


def _draws(blob: Blob, vae: VAE, drawn_from: FittedPrior) -> dict[str, Any]:
    """Codes from a fitted prior, the same in every page of a run."""
    n = max(1, min(_DRAWS, _DRAW_BYTES // (4 * vae.latent_dim)))
    with seeded(vae, 0):
        codes = to_numpy(drawn_from.density.sample(n)).astype(np.float32)
    return {"codes": blob.add(codes), "count": n, "prior": drawn_from.describe()}


def _classes(blob: Blob, vae: VAE, data: Dataset) -> dict[str, Any] | None:
    found = class_means(vae, data)
    return None if found is None else {"means": blob.add(found[0]), "counts": found[1]}


def _maps(codes: Array, umap: bool) -> list[Map]:
    return [plane_map(codes)] + ([umap_map(codes)] if umap else [])


def _map(blob: Blob, one: Map) -> dict[str, Any]:
    parts = {"centre": one.centre, "directions": one.directions, "places": one.places}
    numbers = {name: None if part is None else blob.add(part) for name, part in parts.items()}
    return {"name": one.name, "axes": list(one.axes), **numbers}


def _condition(blob: Blob, vae: VAE) -> dict[str, Any] | None:
    """The condition of a conditional model, and the maps of its prior, by which codes move to another one."""
    given = vae.condition
    if given is None:
        return None
    names = [given.name_of(i) for i in range(given.size)] if given.kind == "labels" else []
    prior = None
    if isinstance(vae.prior, ConditionalNormal):
        maps = {"mean": vae.prior.mean, "logScale": vae.prior.log_scale}
        prior = {
            name: {"weight": blob.add(to_numpy(layer.weight)), "bias": blob.add(to_numpy(layer.bias))}
            for name, layer in maps.items()
        }
    parts = {"kind": given.kind, "size": given.size, "names": names, "inDecoder": given.beside_code > 0}
    return {**parts, "prior": prior}


def _atlas(blob: Blob, vae: VAE, data: Dataset, found: Points, notes: list[str]) -> dict[str, Any] | None:
    if len(vae.shape) != 3 or vae.shape[-1] not in _THUMBNAIL_BYTES:
        return None
    atlas = make_atlas(as_pixels(vae, data.values(found.rows)), _THUMBNAIL_BYTES[vae.shape[-1]])
    if atlas.count < len(found.rows):
        notes.append(f"{atlas.count:,} of {len(found.rows):,} points have a thumbnail: more would not fit")
    return {
        "sheets": [blob.add(np.frombuffer(sheet, np.uint8)) for sheet in atlas.sheets],
        "width": atlas.width,
        "height": atlas.height,
        "columns": atlas.columns,
        "perSheet": atlas.per_sheet,
        "count": atlas.count,
    }


def as_pixels(vae: VAE, x: Array) -> NDArray[np.uint8]:
    """Pictures (n, h, w, c) in model units as 8-bit pixels, black and white as in the training data."""
    low, high = vae.value_range
    return np.rint((x - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def _model(
    blob: Blob, vae: VAE, data: Dataset, found: Points, notes: list[str], *, served: bool
) -> dict[str, Any]:
    some = evenly(len(found.rows), _MEASURED)
    codes = found.codes[some]
    given = None if found.conditions is None else found.conditions[some]
    try:
        model = page_model(vae, blob, codes, given, examples_of(vae, data, found.rows[some]))
    except CannotRunError as missing:
        if not served:
            raise UsageError(
                f"a page cannot run this model: it has {missing}; leave out --export, and the page asks "
                "the model behind it"
            ) from None
        notes.append(f"the page asks the model behind it: it cannot run {missing} itself")
        return {"decoder": None, "encoder": None, "withoutEncoder": "", "weights": None, "checks": None}
    if model.encoder is None and len(vae.shape) == 3:
        notes.append(f"pictures cannot be dropped into the page: it cannot run {model.without_encoder}")
    few = evenly(len(codes), _CHECKED)
    conditions = None if given is None else given[few]
    exact = decoded_cells(vae.decode(codes[few], conditions))
    checks: dict[str, Any] = {"codes": blob.add(codes[few]), "decoded": blob.add(exact)}
    checks["conditions"] = None if conditions is None else blob.add(conditions)
    return {
        "decoder": model.decoder,
        "encoder": model.encoder,
        "withoutEncoder": model.without_encoder,
        "weights": {"format": model.weights, "meanError": model.error.mean, "largestError": model.error.most},
        "checks": checks,
    }


def _record(run: Run) -> dict[str, Any]:
    """History, results and configuration, of which only finite numbers are kept."""
    history = run.history
    rows = [history[i] for i in evenly(len(history), _HISTORY)] if history else []
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if _is_number(value)))
    columns = {name: [row.get(name) if _is_number(row.get(name)) else None for row in rows] for name in names}
    return {
        "history": columns,
        "metrics": run.metrics,
        "config": run.config.model_dump(mode="json"),
        "status": run.status.state,
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
