"""Flat buffers for all weights and all gradients: one optimiser call, one norm, one all-reduce."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError

# Views start on a cache line.
_ALIGNMENT = 64


class FlatParameters:
    """Parameters as views of one buffer for each dtype, and their gradients as views of another.

    The parameters stay the same objects; only their storage moves. The gaps that align them stay zero.
    :meth:`release` gives each parameter its own storage again.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
        All on one device.
    multiple : int
        Number of equal parts into which each buffer can be divided.

    Attributes
    ----------
    values : list of nn.Parameter
        One buffer for each dtype.
    gradients : list of Tensor
        Their gradients; also in their ``grad``.
    sizes : list of int
        Length that each buffer would have with ``multiple`` = 1.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> flat = FlatParameters(list(layer.parameters()))
    >>> flat.values[0].detach().fill_(1.0).shape  # 2 weights and a bias, each on a cache line of its own
    torch.Size([32])
    >>> layer.weight.tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, multiple: int = 1):
        self.multiple = multiple
        self._lowered = False
        self.sizes: list[int] = []
        self._messages: list[Tensor] = []
        self.parameters = list(parameters)
        self.values: list[nn.Parameter] = []
        self.gradients: list[Tensor] = []
        self._own_value: dict[Tensor, Tensor] = {}
        self._own_gradient: dict[Tensor, Tensor] = {}
        for dtype in dict.fromkeys(p.dtype for p in self.parameters):
            self._join([p for p in self.parameters if p.dtype == dtype])
        self._written: set[Tensor] = set()
        self.without_gradient: set[Tensor] = set()

    def _join(self, parameters: list[nn.Parameter]) -> None:
        like = parameters[0]
        step = _ALIGNMENT // like.element_size()
        starts, size = [], 0
        for parameter in parameters:
            starts.append(size)
            size += -(-parameter.numel() // step) * step
        self.sizes.append(size)
        size = -(-size // (step * self.multiple)) * step * self.multiple
        values = torch.zeros(size, dtype=like.dtype, device=like.device)
        # Behind the gradients is room for notes that are summed along with them.
        self._messages.append(torch.zeros(size + step, dtype=like.dtype, device=like.device))
        gradients = self._messages[-1][:size]
        for start, parameter in zip(starts, parameters, strict=True):
            own = slice(start, start + parameter.numel())
            values[own].copy_(parameter.detach().reshape(-1))
            self._own_value[parameter] = values[own].view(parameter.shape)
            parameter.data = self._own_value[parameter]
            parameter.grad = None
            self._own_gradient[parameter] = gradients[own].view(parameter.shape)
        buffer = nn.Parameter(values)
        buffer.grad = gradients
        self.values.append(buffer)
        self.gradients.append(gradients)

    @property
    def device(self) -> torch.device:
        """Where the buffers are."""
        return self.values[0].device

    @torch.no_grad()
    def adopt(self) -> None:
        """Take parameters back into the buffer whose ``data`` were replaced, with their new values.

        Raises
        ------
        UsageError
            If a parameter now has another shape, type or device.
        """
        for parameter, own in self._own_value.items():
            if parameter.data_ptr() == own.data_ptr() and parameter.shape == own.shape:
                continue
            now = (parameter.shape, parameter.dtype, parameter.device)
            if now != (own.shape, own.dtype, own.device):
                raise UsageError(
                    f"a parameter that was {own.dtype} {tuple(own.shape)} on {own.device} is now "
                    f"{parameter.dtype} {tuple(parameter.shape)} on {parameter.device}; change that before "
                    "training, not during it"
                )
            own.copy_(parameter)
            parameter.data = own

    def lower(self, dtype: torch.dtype) -> None:
        """Keep gradients in another precision; ``grad`` of the buffers is then not set."""
        self._lowered = True
        for i, values in enumerate(self.values):
            values.grad = None
            self.gradients[i] = torch.zeros_like(values, dtype=dtype, requires_grad=False)
        self._cut_gradients()

    def restore_precision(self) -> None:
        """Keep gradients in the precision of the parameters again."""
        self._lowered = False
        for i, (values, message) in enumerate(zip(self.values, self._messages, strict=True)):
            full = message[: len(values)]
            full.copy_(self.gradients[i])
            values.grad = self.gradients[i] = full
        self._cut_gradients()

    def _cut_gradients(self) -> None:
        for parameter in self.parameters:
            buffer, start = self.offset(parameter)
            own = self.gradients[buffer][start : start + parameter.numel()]
            self._own_gradient[parameter] = own.view(parameter.shape)

    def offset(self, parameter: Tensor) -> tuple[int, int]:
        """Return the buffer that a parameter is in, and its position there."""
        buffer = next(i for i, values in enumerate(self.values) if values.dtype == parameter.dtype)
        return buffer, int(parameter.storage_offset())

    def gradient(self, parameter: Tensor) -> Tensor:
        """Return the parameter's part of the gradient buffer."""
        return self._own_gradient[parameter]

    def gradients_of(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """Return the gradients of some parameters in as few pieces of the buffers as possible.

        Examples
        --------
        >>> layer = nn.Linear(2, 1)
        >>> flat = FlatParameters(list(layer.parameters()))
        >>> [len(piece) for piece in flat.gradients_of([layer.weight])]
        [2]
        >>> [len(piece) for piece in flat.gradients_of(layer.parameters())]  # with the gap between them
        [17]
        """
        wanted = set(parameters)
        pieces: list[Tensor] = []
        for gradients, values in zip(self.gradients, self.values, strict=True):
            inside = [p for p in self.parameters if p.dtype == values.dtype]
            for together, run in groupby(inside, key=wanted.__contains__):
                places = [(int(p.storage_offset()), p.numel()) for p in run]
                if together:
                    pieces.append(gradients[places[0][0] : sum(places[-1])])
        return pieces

    def begin(self) -> None:
        """Forget the gradients of the last step."""
        self._written.clear()
        for parameter in self.parameters:
            parameter.grad = None

    def write(self, parameter: Tensor, gradient: Tensor) -> None:
        """Add a gradient from outside autograd; the first one of a step overwrites the buffer."""
        own = self._own_gradient[parameter]
        if parameter in self._written:
            own.add_(gradient.view(own.shape))
        else:
            own.copy_(gradient.view(own.shape))
            self._written.add(parameter)

    def slot(self, parameter: Tensor) -> Tensor | None:
        """Return the buffer for the first gradient of a step, or None if it has been written already."""
        if parameter in self._written:
            return None
        self._written.add(parameter)
        return self._own_gradient[parameter]

    def collect(self) -> None:
        """Bring what autograd left in ``grad`` into the buffer, and 0 where there is no gradient.

        ``without_gradient`` has the parameters of the latter kind.
        """
        self.without_gradient.clear()
        into: list[Tensor] = []
        found: list[Tensor] = []
        for parameter, own in self._own_gradient.items():
            if parameter.grad is None:
                if parameter not in self._written:
                    own.zero_()
                    self.without_gradient.add(parameter)
            elif parameter in self._written:
                own.add_(parameter.grad)
            else:
                into.append(own)
                found.append(parameter.grad)
            parameter.grad = None
        if into:
            torch._foreach_copy_(into, found)
        if not self._lowered:
            for values, gradients in zip(self.values, self.gradients, strict=True):
                values.grad = gradients

    def sum_over(self, add_up: Callable[[Tensor], Tensor], notes: Tensor) -> Tensor:
        """Sum the gradients over all processes, along with a few numbers whose sums are returned."""
        room = self._messages[0][len(self.gradients[0]) :]
        room[: len(notes)] = notes
        for message in self._messages:
            add_up(message)
        return room[: len(notes)]

    def hand_out(self) -> None:
        """Let ``grad`` of each parameter that has a gradient be its part of the buffer."""
        for parameter, own in self._own_gradient.items():
            parameter.grad = None if parameter in self.without_gradient else own

    def release(self) -> None:
        """Give each parameter its own storage, without a gradient."""
        for parameter in self.parameters:
            parameter.data = parameter.detach().clone()
            parameter.grad = None
