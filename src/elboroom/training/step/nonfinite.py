"""Steps with a non-finite loss or gradient: counted on the device, explained on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training.devices import works_apart
from elboroom.training.step.totals import Sums

_SHOWN_ROWS = 8


def judge(
    sums: Sums, watched: Sequence[Tensor], *, static: bool
) -> tuple[Sums | tuple[float, ...], Tensor | bool]:
    """Return the sums of a batch, and whether one of some scalars is not finite.

    If ``static``, nothing is read on the host; otherwise all is, at once.
    """
    if static:
        return sums, ~torch.isfinite(torch.stack(list(watched)).sum())
    numbers = torch.stack([*sums, *watched]).tolist()
    return tuple(numbers[: len(sums)]), not all(map(math.isfinite, numbers[len(sums) :]))


class SkippedSteps:
    """Counts of skipped steps: consecutive ones up to now, and those since :meth:`reset` with the first.

    The counters are on the device, and the host does not wait for it.

    Parameters
    ----------
    device : torch.device
        Where they are.
    static : bool, optional
        Never read the device in :meth:`note`. By default this depends on the device.

    Examples
    --------
    >>> skipped = SkippedSteps(torch.device("cpu"))
    >>> for step, bad in enumerate([False, True, False, True, True]):
    ...     skipped.note(bad, step)
    >>> skipped.read()
    (2, 3, 1)
    """

    def __init__(self, device: torch.device, *, static: bool | None = None):
        self.counts = torch.tensor([0, 0, -1, 0], device=device)
        self._static = works_apart(device) if static is None else static
        self._clean = True  # where a check costs nothing

    def note(self, bad: Tensor | bool, step: int) -> None:
        """Count one step; on a GPU the clock is kept there, as a captured step needs."""
        if self._clean and bad is False:
            return
        in_a_row, total, first, clock = self.counts.unbind()
        if not self._static:
            self._clean = not bad
            clock.fill_(step)
        flag = torch.as_tensor(bad).to(self.counts)
        first.copy_(torch.where((flag == 1) & (first < 0), clock, first))
        in_a_row.add_(1).mul_(flag)
        total.add_(flag)
        clock.add_(1)

    def set_clock(self, step: int) -> None:
        """Set the number of the next step."""
        self.counts[3] = step

    def read(self) -> tuple[int, int, int]:
        """Return consecutive skips, skips since the last reset, and the first of these (−1: none).

        The host waits for the device here.
        """
        in_a_row, total, first, _ = self.counts.tolist()
        return in_a_row, total, first

    def reset(self, *, row_too: bool = False) -> None:
        """Clear all but the count of consecutive skips; with ``row_too`` that as well."""
        self.counts[1] = 0
        self.counts[2] = -1
        if row_too:
            self.counts[0] = 0
            self._clean = True

    def load(self, counts: Tensor) -> None:
        """Restore saved counts."""
        self.counts[:3] = counts
        self._clean = not self.counts[0].item()


@dataclass(frozen=True)
class Finding:
    """The first non-finite tensor in the order of computation.

    Attributes
    ----------
    tensor : str
        What it is: the data, a weight, a layer's output, a term of the loss, a gradient.
    statistic : str
        How many of its numbers are nan or infinite, and the largest of the others.
    rows : list of int
        Affected positions in the batch; all of them if the tensor is not per example.
    """

    tensor: str
    statistic: str
    rows: list[int]

    def describe(self, indices: list[int]) -> str:
        """Return one line of text; ``indices`` are the rows of the batch in the data set."""
        named = [indices[row] for row in self.rows]
        shown = ", ".join(map(str, named[:_SHOWN_ROWS]))
        more = f" and {len(named) - _SHOWN_ROWS} more" if len(named) > _SHOWN_ROWS else ""
        return f"first bad tensor: {self.tensor} ({self.statistic}); data rows {shown}{more}"


def find_first(
    vae: VAE, objective: Objective, x: Tensor, coefficients: Tensor, condition: Tensor | None = None
) -> Finding | None:
    """Run a batch again and check every tensor.

    Parameters
    ----------
    vae, objective
        Model and objective as they were in the step; no weight is changed.
    x : Tensor
        The batch (b, *shape) in model units.
    coefficients : Tensor
        Values of the objective's schedules.
    condition : Tensor, optional
        Conditions of the examples of a conditional model, (b, C).

    Returns
    -------
    Finding or None
        None if everything is finite this time: then the noise of that step contributed to it.
    """
    seen: list[Finding] = []

    def look(name: str, tensor: Any, *, per_example: bool = True) -> None:
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not seen:
            seen.extend(_judge(name, tensor, len(x), per_example=per_example))

    look("the data", x)
    look("the conditions", condition)
    for name, weight in [*vae.named_parameters(), *vae.named_buffers()]:
        look(name, weight, per_example=False)
    with torch.enable_grad(), _outputs_of(vae, look):
        terms = vae(x, objective.num_samples, condition)
        _look_at_terms(terms, look)
        loss = objective(terms, coefficients)
    look("the loss", loss, per_example=False)
    if not seen:
        parameters = [(name, p) for name, p in vae.named_parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, [p for _, p in parameters], allow_unused=True)
        # In reverse: the last layer of the decoder gets its gradient first.
        for (name, _), gradient in reversed(list(zip(parameters, gradients, strict=True))):
            look(f"gradient of {name}", gradient, per_example=False)
    return seen[0] if seen else None


def _look_at_terms(terms: Terms, look: Any) -> None:
    look("posterior mean", terms.posterior.mean)
    look("posterior scale", getattr(terms.posterior, "scale", None))
    look("code z", terms.z.transpose(0, 1))
    look("log p(x|z)", terms.log_likelihood.transpose(0, 1))
    look("rate", terms.rate)


@contextmanager
def _outputs_of(vae: VAE, look: Any) -> Iterator[None]:
    """Check the output of each layer, in the order of computation."""
    hooks = []
    for name, module in vae.named_modules():
        if name and not any(module.children()):

            def hook(
                _module: nn.Module, _inputs: Any, output: Any, *, what: str = f"output of {name}"
            ) -> None:
                look(what, output)

            hooks.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _judge(name: str, tensor: Tensor, batch: int, *, per_example: bool) -> list[Finding]:
    tensor = tensor.detach()
    bad = ~torch.isfinite(tensor)
    count = int(bad.sum())
    if not count:
        return []
    kinds = [("nan", torch.isnan(tensor)), ("infinite", torch.isinf(tensor))]
    counts = " and ".join(f"{int(found.sum()):,} {kind}" for kind, found in kinds if found.any())
    finite = tensor[~bad]
    rest = f", the others up to {finite.abs().max().item():.3g}" if finite.numel() else ""
    per_example = per_example and tensor.ndim > 0 and len(tensor) == batch
    rows = torch.nonzero(bad.flatten(1).any(1) if tensor.ndim > 1 else bad).flatten().tolist()
    return [
        Finding(name, f"{counts} of {tensor.numel():,}{rest}", rows if per_example else list(range(batch)))
    ]
