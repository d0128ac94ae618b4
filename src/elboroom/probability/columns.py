"""Likelihoods of the columns of a table: a family models several columns of its kind at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.config.columns import Column
from elboroom.probability.parameters import softplus_from
from elboroom.probability.truncated import log_normal_mass, truncated_normal

_LOG_2PI = math.log(2 * math.pi)
_LEAST_SCALE = 1e-3  # of a standardised column
_START_SCALE = 1.0


class ColumnFamily(nn.Module):
    """The likelihood of g columns.

    Parameters
    ----------
    columns : sequence of Column
        The columns, in the order of the last axis of what the methods take.

    Attributes
    ----------
    width : int
        Features that the decoder gives for one example.
    encoded_width : int
        Numbers that the encoder sees of one example.
    owner : Tensor
        The column (0 to g − 1) that each of these numbers belongs to, (encoded_width,).
    fill : Tensor
        Values in the support (g,), which stand in for missing cells before they are masked.
    """

    location: Tensor
    spread: Tensor
    fill: Tensor
    owner: Tensor

    def __init__(self, columns: Sequence[Column], widths: Sequence[int], encoded_widths: Sequence[int]):
        super().__init__()
        self.width, self.encoded_width = sum(widths), sum(encoded_widths)
        location = torch.tensor([column.location for column in columns])
        spread = torch.tensor([column.scale for column in columns])
        # The columns themselves are saved with the configuration.
        for name, buffer in (("location", location), ("spread", spread), ("fill", location.clone())):
            self.register_buffer(name, buffer, persistent=False)
        owner = torch.arange(len(columns)).repeat_interleave(torch.tensor(encoded_widths))
        self.register_buffer("owner", owner, persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """What the encoder sees of x (..., g): (..., encoded_width)."""
        raise NotImplementedError

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-density or log-mass of each cell in its own units, (..., g), in nats."""
        raise NotImplementedError

    def mean(self, features: Tensor) -> Tensor:
        """The value to show for each cell, (..., g): the mean, or the most probable category."""
        raise NotImplementedError

    def sample(self, features: Tensor) -> Tensor:
        """Draw each cell, (..., g)."""
        raise NotImplementedError

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Log-probability that each cell of numbers lies in [low, high], (g,) each: (..., g), in nats."""
        raise NotImplementedError

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draw each cell of numbers within [low, high], (g,) each: (..., g)."""
        raise NotImplementedError


class GaussianColumns(ColumnFamily):
    """Normal columns: the decoder gives the mean and the scale of the standardised number."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, [2] * len(columns), [1] * len(columns))

    def encode(self, x: Tensor) -> Tensor:
        """Standardised numbers."""
        return (x - self.location) / self.spread

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Of the standardised number, minus log s (Jacobian)."""
        mean, scale = self._mean_and_scale(features)
        gap = (self.encode(x) - mean) / scale
        return -0.5 * (gap.square() + _LOG_2PI) - scale.log() - self.spread.log()

    def mean(self, features: Tensor) -> Tensor:
        """Mean."""
        return self.location + self.spread * self._mean_and_scale(features)[0]

    def sample(self, features: Tensor) -> Tensor:
        """Mean plus noise."""
        mean, scale = self._mean_and_scale(features)
        return self.location + self.spread * (mean + scale * torch.randn_like(mean))

    def log_mass_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Φ at the upper end minus Φ at the lower."""
        mean, scale = (value.double() for value in self._mean_and_scale(features))
        return log_normal_mass((self.encode(low) - mean) / scale, (self.encode(high) - mean) / scale)

    def sample_between(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Truncated normal."""
        mean, scale = (value.double() for value in self._mean_and_scale(features))
        drawn = truncated_normal((self.encode(low) - mean) / scale, (self.encode(high) - mean) / scale)
        return (self.location + self.spread * (mean + scale * drawn)).to(features.dtype)

    def _mean_and_scale(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = features.chunk(2, -1)
        return mean, softplus_from(raw, _START_SCALE, _LEAST_SCALE)


class CategoricalColumns(ColumnFamily):
    """Categories: the decoder gives their logits, side by side; the encoder sees them one-hot."""

    def __init__(self, columns: Sequence[Column]):
        self._sizes = [len(column.categories) for column in columns]
        super().__init__(columns, self._sizes, self._sizes)
        self.fill.zero_()

    def encode(self, x: Tensor) -> Tensor:
        """One-hot."""
        each = [F.one_hot(x[..., i].long(), size) for i, size in enumerate(self._sizes)]
        return torch.cat(each, -1).to(x.dtype)

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each category."""
        lead = (features[..., 0] + x[..., 0]).shape
        chosen = x.long().expand(*lead, -1)
        found = [
            F.log_softmax(logits, -1).expand(*lead, -1).gather(-1, chosen[..., i : i + 1])
            for i, logits in enumerate(self._each(features))
        ]
        return torch.cat(found, -1)

    def mean(self, features: Tensor) -> Tensor:
        """Index of the most probable category."""
        return torch.stack([logits.argmax(-1) for logits in self._each(features)], -1).to(features.dtype)

    def sample(self, features: Tensor) -> Tensor:
        """Index of a category, by Gumbel noise."""
        drawn = [
            (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
            for logits in self._each(features)
        ]
        return torch.stack(drawn, -1).to(features.dtype)

    def _each(self, features: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = features.split(self._sizes, -1)  # type: ignore[no-untyped-call]
        return found


class BernoulliColumns(ColumnFamily):
    """Booleans: the decoder gives the logit of the second category."""

    def __init__(self, columns: Sequence[Column]):
        super().__init__(columns, [1] * len(columns), [1] * len(columns))
        self.fill.zero_()

    def encode(self, x: Tensor) -> Tensor:
        """−1 or 1."""
        return 2 * x - 1

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each value."""
        return F.logsigmoid((2 * x - 1) * features)

    def mean(self, features: Tensor) -> Tensor:
        """The more probable value."""
        return (features > 0).to(features.dtype)

    def sample(self, features: Tensor) -> Tensor:
        """Draw 0 or 1."""
        return torch.bernoulli(torch.sigmoid(features))


COLUMN_FAMILIES: dict[str, Callable[[Sequence[Column]], ColumnFamily]] = {
    "gaussian": GaussianColumns,
    "categorical": CategoricalColumns,
    "bernoulli": BernoulliColumns,
}
"""Name of a family, as in :class:`elboroom.config.columns.Column` → its class."""
