"""How well each column of a table is described: nats, accuracies and errors in its own units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.support import checked_batches
from elboroom.latent.arrays import seeded
from elboroom.models.vae import VAE, Precision

if TYPE_CHECKING:
    from elboroom.config.columns import Column

_BATCH = 500
_DRAWS = 20  # of the code of each row


def evaluate_columns(
    vae: VAE,
    batches: Batches,
    indices: NDArray[np.int64],
    *,
    num_samples: int = _DRAWS,
    seed: int = 0,
    precision: Precision = "fp32",
) -> list[dict[str, Any]]:
    """Measure each column of a table on the cells that are observed, reconstructed from all cells of the row.

    Parameters
    ----------
    vae : VAE
        With the mixed likelihood, on the device of ``batches``.
    batches : Batches
        The table.
    indices : array
        Of the rows to measure, (n,).
    num_samples : int
        Codes that are drawn for each row, at least 2.
    seed : int
        Of the codes; the caller's randomness is left alone.
    precision : {"fp32", "bf16"}
        Of the networks' products.

    Returns
    -------
    list of dict
        Of each column ``name kind family``; ``observed``, the number of its cells that are; ``nats``, the
        mean of −E_q log p(x_j|z) over these cells, and ``nats_stderr``, its Monte Carlo standard error, the
        rows being fixed. The sum of nats · observed over the columns, by n, is the distortion of a row. Where
        the model has a mechanism of missing cells there is ``missing_nats``, the mean of −E_q log p(s_j|x_j)
        over the n rows, where s_j says whether the cell is missing; its sum belongs to the distortion too.

        What follows is of the value shown by ``reconstruct``, at the mean code. Categories, ordered levels
        and booleans have ``accuracy``, and ``majority``, that of naming the most frequent one of the measured
        cells always. Numbers have ``rmse`` in the column's units, and ``deviation``, their standard
        deviation, which is the RMSE of naming their mean always. All are None without an observed cell.

    Raises
    ------
    UsageError
        If the model is not one of a table, there are no rows, or fewer than two codes are to be drawn.
    """
    columns: tuple[Column, ...] = getattr(vae.likelihood, "columns", ())
    if not columns:
        raise UsageError("the model is not one of a table: its likelihood is not mixed")
    if not len(indices):
        raise UsageError("there are no examples to evaluate; choose another split")
    if num_samples < 2:
        raise UsageError(f"num_samples = {num_samples}: at least 2 are needed for an error")
    batches.condition_on(vae.condition)
    parts: list[tuple[Tensor, ...]] = []
    with seeded(vae, seed), vae.at_rest(precision):
        for chosen, x in checked_batches(vae, batches, indices, _BATCH):
            parts.append(_measured(vae, x, batches.conditions(chosen), num_samples))
    cells, nats, variances, shown, patterns = (
        torch.cat(part).cpu().double().numpy() for part in zip(*parts, strict=True)
    )
    found = [
        _of_column(column, cells[:, i], nats[:, i], variances[:, i], shown[:, i])
        for i, column in enumerate(columns)
    ]
    if vae.likelihood.mechanism is None:
        return found
    of_pattern = patterns.mean(0).tolist()
    return [{**one, "missing_nats": nats} for one, nats in zip(found, of_pattern, strict=True)]


def _measured(vae: VAE, x: Tensor, condition: Tensor | None, draws: int) -> tuple[Tensor, ...]:
    """Cells, their nats, the variances of these as means over the draws, what is shown, and the nats of which
    are missing: (b, d) each.
    """
    terms = vae(x, draws, condition)
    likelihood: Any = terms.likelihood
    log_prob = likelihood.log_prob_of_cells(x).double()
    shown = terms.generate(terms.posterior.mean).mean
    pattern = likelihood.log_prob_by_column(x).double() - log_prob
    return x, -log_prob.mean(0), log_prob.var(0) / draws, shown, -pattern.mean(0)


def _of_column(
    column: Column,
    cells: NDArray[np.float64],
    nats: NDArray[np.float64],
    variances: NDArray[np.float64],
    shown: NDArray[np.float64],
) -> dict[str, Any]:
    known = ~np.isnan(cells)
    n = int(known.sum())
    found: dict[str, Any] = {"name": column.name, "kind": column.kind, "family": column.family, "observed": n}
    cells, shown = cells[known], shown[known]
    found["nats"] = float(nats[known].mean()) if n else None
    found["nats_stderr"] = math.sqrt(float(variances[known].sum())) / n if n else None
    if column.categories:
        found["accuracy"] = float((cells == shown).mean()) if n else None
        found["majority"] = int(np.bincount(cells.astype(np.int64)).max()) / n if n else None
    else:
        found["rmse"] = math.sqrt(float(np.square(cells - shown).mean())) if n else None
        found["deviation"] = float(cells.std()) if n else None
    return found
