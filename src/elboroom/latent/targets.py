"""Endpoints of paths: members and means of classes, attribute directions, and refined codes."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from elboroom.errors import UsageError, nearest
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

How = Literal["nearest", "mean", "random"]


def attribute_vector(codes: Array, labels: Array, positive: int, negative: int | None = None) -> Tensor:
    """Direction from one label to another: the difference of their mean codes (arXiv:1512.09300 §4.2).

    Parameters
    ----------
    codes : array
        (n, d).
    labels : array
        (n,), integers.
    positive : int
        The label to go towards.
    negative : int, optional
        The label to come from; all others if not given.

    Returns
    -------
    Tensor
        (d,); added to the code of a typical member of one class, it leads to the other class.

    Raises
    ------
    UsageError
        If one of the two has no member.
    """
    codes, labels = torch.as_tensor(codes), torch.as_tensor(labels)
    away = labels != positive if negative is None else labels == negative
    if not (labels == positive).any():
        raise UsageError(f"no example has label {positive}, to go towards")
    if not away.any():
        raise UsageError(f"no example has {'another label' if negative is None else f'label {negative}'}")
    return codes[labels == positive].mean(0) - codes[away].mean(0)


def attribute_slope(codes: Array, values: Array) -> Tensor:
    """Direction in which a numeric attribute increases: the least-squares slope of the codes.

    Parameters
    ----------
    codes : array
        (n, d).
    values : array
        (n,), such as ages; examples without one are NaN.

    Returns
    -------
    Tensor
        (d,), change of the code per unit of the attribute: cov(z, v) / var(v). For values 0 and 1 it is
        :func:`attribute_vector`.

    Raises
    ------
    UsageError
        If the lengths differ or the known values do not vary.
    """
    codes, values = torch.as_tensor(codes), torch.as_tensor(values).to(torch.as_tensor(codes))
    if values.shape != codes.shape[:1]:
        raise UsageError(f"got values {tuple(values.shape)} for {len(codes)} codes; give one per code")
    codes, values = codes[values.isfinite()], values[values.isfinite()]
    if len(values) < 2 or values.min() == values.max():
        raise UsageError(f"got {len(values)} known values that do not vary; give 2 different ones or more")
    offset = values - values.mean()
    return (offset @ codes) / offset.square().sum()


class Target(NamedTuple):
    """An endpoint: a code (d,) and, if it is the code of an example, the row of that example."""

    code: Tensor
    row: int | None


def class_target(
    codes: Array,
    labels: Array,
    label: int,
    how: How = "nearest",
    *,
    of: Array | None = None,
    seed: int | tuple[int, ...] = 0,
) -> Target:
    """Choose a member of a class, or its mean.

    Parameters
    ----------
    codes : array
        Of examples, (n, d).
    labels : array
        Their labels, (n,).
    label : int
        The class.
    how : {"nearest", "mean", "random"}
        The member whose code is nearest to ``of``, the mean code, or a member drawn by ``seed``.
    of : array, optional
        Code (d,), for "nearest".
    seed : int or tuple of int
        For "random"; the caller's random state is left alone.

    Raises
    ------
    UsageError
        If the class has no member, ``how`` is unknown, or "nearest" lacks ``of``.

    Examples
    --------
    >>> codes, labels = np.array([[0.0], [1.0], [5.0]]), np.array([7, 3, 3])
    >>> class_target(codes, labels, 3, of=np.array([-1.0])).row, class_target(codes, labels, 3, "mean").row
    (1, None)
    """
    if how not in get_args(How):
        raise UsageError(f"how = {how!r}; {nearest(str(how), get_args(How))}")
    codes, rows = torch.as_tensor(codes), np.flatnonzero(np.asarray(labels) == label)
    if not len(rows):
        raise UsageError(f"no example has label {label}; choose another")
    members = codes[torch.from_numpy(rows).to(codes.device)]
    if how == "mean":
        return Target(members.mean(0), None)
    if how == "random":
        chosen = int(np.random.default_rng(seed).integers(len(rows)))
    elif of is not None:
        chosen = int((members - torch.as_tensor(of).to(members)).square().sum(-1).argmin())
    else:
        raise UsageError("how = 'nearest' needs a code (d,) to be near to; give it as of=")
    return Target(members[chosen], int(rows[chosen]))


def refine(vae: VAE, x: Array, z: Array | None = None, *, steps: int = 100, lr: float = 0.05) -> Tensor:
    """Improve codes by gradient descent, for images unlike the training images.

    The encoder's code of such an image is often poor although the decoder could do better. From that code
    Adam minimises −log p(x|z) − log p(z) (semi-amortised inference, arXiv:1802.02550, of a point instead of
    a posterior).

    Parameters
    ----------
    vae : VAE
        The model; its weights, gradients and mode are left as they were, and nothing is sampled.
    x : array
        Examples (b, *shape); of a conditional model with their conditions.
    z : array, optional
        Initial codes (b, d); the posterior means if not given.
    steps : int
        Gradient steps; 0 for none.
    lr : float
        Adam's learning rate, in units of z.

    Returns
    -------
    Tensor
        (b, d), the best code found for each example, never worse than the initial one.

    Raises
    ------
    UsageError
        If ``steps`` < 0, ``lr`` ≤ 0, a shape does not fit, or codes are entries of a codebook or grid.
    """
    if steps < 0 or not lr > 0:
        raise UsageError(f"got steps = {steps}, lr = {lr}; give 0 steps or more and a learning rate above 0")
    if steps and getattr(getattr(vae.posterior, "makes", None), "space", None) == "codes":
        raise UsageError(
            "codes of this model are entries of a codebook or grid, and refined ones would lie between them; "
            "leave refinement out"
        )
    plain, condition = apart(x)
    target = vae.as_input(plain, scored=True)
    start = vae.embed(x) if z is None else torch.as_tensor(z).to(target)
    if start.shape != (len(target), vae.latent_dim):
        raise UsageError(f"got codes {tuple(start.shape)}; give ({len(target)}, {vae.latent_dim})")
    with vae.at_rest(), torch.enable_grad():
        c = vae.condition_vectors(condition, len(target))
        prior = vae.prior_given(c)
        code = start.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([code], lr=lr)
        best, least = start.detach().clone(), torch.full((len(target),), torch.inf).to(target)
        for step in range(steps + 1):
            z_now = vae.onto_space(code)
            loss = -vae.generate(z_now, c).log_prob(target) - prior.log_prob(z_now)
            better = loss.detach() < least
            best[better], least[better] = z_now.detach()[better], loss.detach()[better]
            if step < steps:
                (code.grad,) = torch.autograd.grad(loss.sum(), code)
                optimizer.step()
    return best
