"""Fill in the missing cells of a table: the conditional distribution of each, given the cells of its row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.config.columns import Column
from elboroom.distributed.noise import SharedNoise, noise_from
from elboroom.errors import UsageError
from elboroom.latent.arrays import seeded
from elboroom.models.conditioning import Array, Condition, apart
from elboroom.models.inputs import as_tensor, check_count
from elboroom.models.vae import VAE
from elboroom.probability import importance

NUM_SAMPLES = 1000
"""Importance samples of each row."""
_NUMBERS = 2_000_000  # decoded at a time: 8 MB stay in the cache
_POINTS = 50  # about as many for each cell, where a mechanism of missing cells weights its values
_FEW = 10  # effective samples below which an imputation is poor, whatever the tail


@dataclass(frozen=True, eq=False)
class Imputed:
    """A table of n rows and d columns whose missing cells have been filled in.

    Attributes
    ----------
    x : numpy.ndarray
        (n, d), of the type of the floats given. Observed cells are unchanged. A missing number is its mean
        given the observed cells of its row, a missing category the number of the most probable one.
    spread : numpy.ndarray
        float64 (n, d): the standard deviation of a missing number given the observed cells, in the column's
        units; for a missing category, the probability of the one in ``x``. NaN where the cell is observed.
    draws : numpy.ndarray
        (m, n, d), of the type of ``x``: m tables whose missing cells are drawn jointly from their conditional
        distribution: multiple imputations.
    ess : numpy.ndarray
        float64 (n,): effective sample size of the importance weights of each row, from 1 to the number of
        samples; NaN where nothing is missing.
    pareto_k : numpy.ndarray
        float64 (n,): shape of the tail of these weights (arXiv:1507.02646); above 0.7 the row is not to be
        relied on. NaN where nothing is missing, and from fewer than 21 samples, which do not tell.
    columns : tuple of Column
        The d columns.
    """

    x: NDArray[Any]
    spread: NDArray[np.float64]
    draws: NDArray[Any]
    ess: NDArray[np.float64]
    pareto_k: NDArray[np.float64]
    columns: tuple[Column, ...]

    @property
    def poor(self) -> NDArray[np.int64]:
        """Rows whose weights are too uneven for their imputations to be relied on.

        Fewer than 10 effective samples, or Pareto k̂ above 0.7.
        """
        found: NDArray[np.int64] = np.nonzero((self.ess < _FEW) | (self.pareto_k > importance.UNRELIABLE))[0]
        return found


def impute(
    vae: VAE,
    x: Array,
    num_samples: int = NUM_SAMPLES,
    num_imputations: int = 0,
    *,
    seed: int = 0,
    condition: Condition | None = None,
) -> Imputed:
    """Fill in missing cells by importance sampling from q(z|x_obs) (arXiv:1812.02633 §3).

    Codes z of a row are drawn from q(z|x_obs) and weighted by w ∝ p(x_obs|z) p(z) / q(z|x_obs). The weighted
    mean of E[x_mis|z] estimates the mean of a missing number, and that of p(x_mis|z) the probability of each
    category. Multiple imputations draw a code in proportion to its weight, and the missing cells together
    from p(x_mis|z). A row without any observed cell gets codes from the prior. The Monte Carlo error of a
    mean is about its standard deviation / √ess. All rows share the noise of their codes, so that ``x`` and
    ``spread`` of a row are the same wherever it stands. ``draws`` have codes of their own, independent from
    row to row, as an error that all rows share would not average out in what is estimated from such a table.

    Parameters
    ----------
    vae : VAE
        A model with the mixed likelihood.
    x : array
        (n, d), floats with NaN where a cell is missing.
    num_samples : int
        Codes drawn for each row with missing cells.
    num_imputations : int
        m; 0 for the single imputation alone.
    seed : int
        Of all draws; torch's generator is left as it was.
    condition : int, str or array
        For a conditional model: one label or vector for all rows, or one for each.

    Raises
    ------
    UsageError
        If the model does not take missing cells or its posterior has no density, a number is out of range, or
        ``x`` is no float array (n, d).

    Examples
    --------
    >>> columns = [Column(name="age", kind="real"), Column(name="pay", kind="real")]
    >>> vae = VAE.build(shape=(2,), likelihood="mixed", columns=columns, hidden=[8])
    >>> found = impute(vae, np.array([[30.0, np.nan], [np.nan, 5.0]]), num_imputations=3)
    >>> found.x[0, 0].item(), found.x[1, 1].item(), found.draws.shape, found.x.dtype
    (30.0, 5.0, (3, 2, 2), dtype('float64'))
    """
    check_count("num_samples", num_samples, 1)
    check_count("num_imputations", num_imputations, 0)
    x, condition = apart(x, condition)
    rows = as_tensor(x)
    given = rows.detach().cpu().numpy()
    if not vae.accepts_missing:
        raise UsageError(
            "this model's likelihood does not take missing cells; impute with a model trained on a table "
            "with likelihood = 'mixed'"
        )
    c = vae.condition_vectors(condition, len(rows))
    units = vae.as_input(rows)
    head: Any = vae.likelihood
    n, d = given.shape
    found = Imputed(
        given.copy(),
        np.full((n, d), np.nan),
        np.repeat(given[None], num_imputations, 0),
        np.full(n, np.nan),
        np.full(n, np.nan),
        tuple(head.columns),
    )
    missing = units.isnan()
    each = num_samples * d * (1 if head.mechanism is None else _POINTS)
    with vae.at_rest(), seeded(vae, seed):
        for chosen in _pieces(missing, max(1, _NUMBERS // each)):
            own = None if c is None else c[chosen]
            codes = _Weighted.of(vae, units[chosen], own, num_samples, seed)
            _fill(found, chosen.cpu().numpy(), codes, seed)
            if num_imputations:
                codes = _Weighted.of(vae, units[chosen], own, num_samples)
                _draw(found, chosen.cpu().numpy(), codes)
    return found


def _pieces(missing: Tensor, rows: int) -> Iterator[Tensor]:
    """Numbers of the rows with missing cells, a few at a time; those without any observed cell apart."""
    empty, holes = missing.all(1), missing.any(1)
    for kind in (holes & ~empty, empty):
        numbers = kind.nonzero()[:, 0]
        for start in range(0, len(numbers), rows):
            yield numbers[start : start + rows]


@dataclass(frozen=True, eq=False)
class _Weighted:
    """Weighted codes of b rows.

    Attributes
    ----------
    vae, x, condition
        The model, the rows (b, d) with NaN, and their condition vectors (b, C).
    z, log_weights : Tensor
        (k, b, L) and (k, b).
    """

    vae: VAE
    x: Tensor
    condition: Tensor | None
    z: Tensor
    log_weights: Tensor

    @classmethod
    def of(cls, vae: VAE, x: Tensor, c: Tensor | None, k: int, seed: int | None = None) -> _Weighted:
        """Draw k codes of each of the rows; with the same noise for each if there is a seed."""
        if x.isnan().all():
            if seed is None:
                z = vae.prior_given(None if c is None else c.repeat(k, 1)).sample(k * len(x))
                z = z.reshape(k, len(x), -1)
            else:
                rows = range(1 if c is None else len(x))
                z = torch.cat([_from_prior(vae, c, row, k, seed) for row in rows], 1).expand(k, len(x), -1)
            return cls(vae, x, c, z, vae.generate(z, c).log_prob(x))
        q: Any = vae.infer(x, c)
        if not getattr(q, "stochastic", True):
            raise UsageError(
                f"a {type(q).__name__} posterior gives one code and no density, by which imputation weights "
                "codes; train with posterior = 'diagonal'"
            )
        with nullcontext() if seed is None else noise_from(SharedNoise(seed, k)):
            z, log_q = q.rsample_and_log_prob(k)
        log_prior: Tensor = vae.prior_given(c).log_prob(z)
        return cls(vae, x, c, z, vae.generate(z, c).log_prob(x) + log_prior - log_q)

    def resampled(self, m: int) -> Tensor:
        """Draw m rows of all cells for each of the b rows, (m, b, d)."""
        chosen = torch.multinomial(self.log_weights.softmax(0).T, m, replacement=True).T  # (m, b)
        z = self.z.gather(0, chosen[..., None].expand(-1, -1, self.z.shape[-1]))
        p: Any = self.vae.generate(z, self.condition)
        drawn: Tensor = p.if_missing.sample()
        return drawn


def _from_prior(vae: VAE, c: Tensor | None, row: int, k: int, seed: int) -> Tensor:
    """K codes of one row, (k, 1, L), with noise that is the same for every row."""
    with seeded(vae, seed):
        z: Tensor = vae.prior_given(None if c is None else c[row].repeat(k, 1)).sample(k)
    return z[:, None]


def _fill(found: Imputed, rows: NDArray[np.int64], codes: _Weighted, seed: int) -> None:
    """Fill in a few rows."""
    found.ess[rows] = importance.effective_sample_size(codes.log_weights).cpu().numpy()
    found.pareto_k[rows] = importance.pareto_k(codes.log_weights).cpu().numpy()
    missing = codes.x.isnan().cpu().numpy()
    value, spread = _moments(found.columns, codes, seed)
    found.x[rows] = np.where(missing, value.cpu().numpy(), found.x[rows])
    found.spread[rows] = np.where(missing, spread.cpu().numpy(), np.nan)


def _draw(found: Imputed, rows: NDArray[np.int64], codes: _Weighted) -> None:
    """Draw the missing cells of a few rows."""
    drawn = codes.resampled(len(found.draws)).cpu().numpy()
    found.draws[:, rows] = np.where(codes.x.isnan().cpu().numpy(), drawn, found.draws[:, rows])


def _moments(columns: tuple[Column, ...], codes: _Weighted, seed: int) -> tuple[Tensor, Tensor]:
    """Value and spread of each cell, (b, d) each, as :class:`Imputed` has them."""
    weights = codes.log_weights.double().softmax(0)[..., None]
    likelihood: Any = codes.vae.generate(codes.z, codes.condition)
    p = likelihood.if_missing
    # What these show for a cell is its median given z, so that their moments are those of draws.
    skewed = [column.logged or column.family == "quantile" for column in columns]
    drawn = _drawn_by_row(codes.vae, likelihood, seed).double()
    given_z = torch.where(torch.tensor(skewed, device=drawn.device), drawn, p.mean.double())
    mean = (weights * given_z).sum(0)
    # Law of total variance; within p(x|z) by the squared distance of one draw from its mean.
    within = (drawn - given_z).square()
    value, spread = mean, (weights * (within + (given_z - mean).square())).sum(0).sqrt()
    sizes = torch.tensor([len(column.categories) for column in columns], device=mean.device)
    best = torch.zeros_like(mean)
    for category in range(int(sizes.max())):
        cell = torch.where(category < sizes, float(category), torch.nan).to(codes.x)
        log_prob = p.log_prob_of_cells(cell.expand(codes.x.shape)).double()
        probability = torch.where(category < sizes, (weights * log_prob.exp()).sum(0), 0.0)
        better = probability > best
        best = torch.where(better, probability, best)
        value = torch.where(better, float(category), value)
    return value, torch.where(sizes > 0, best, spread)


def _drawn_by_row(vae: VAE, likelihood: Any, seed: int) -> Tensor:
    """All cells of b rows drawn given each of k codes, (k, b, d), with the same noise for every row.

    What is imputed in a row then does not depend on the rows beside it.
    """
    rows = []
    for features in likelihood.features.split(1, 1):
        with seeded(vae, seed):
            rows.append(replace(likelihood, features=features).if_missing.sample())
    return torch.cat(rows, 1)
