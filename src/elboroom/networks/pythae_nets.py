"""Adapters for networks written for Pythae, which are used unchanged; Pythae itself is not needed.

Pythae's convention: an encoder returns an object or a mapping with ``embedding`` (b, d) and
``log_covariance`` (b, d), the log-variances; a decoder returns one with ``reconstruction``; images are
channels first, (b, c, h, w). Its two reconstruction losses are these likelihoods:

============  ======================================  ==========================================
Pythae        decoder                                 likelihood
============  ======================================  ==========================================
``"mse"``     ``PythaeDecoder(net, logits=False)``    ``GaussianHead(shape, scale=1.0)``
``"bce"``     ``PythaeDecoder(net, logits=True)``     ``BernoulliHead(shape)``
============  ======================================  ==========================================

With ``DiagonalGaussianHead(d, scale="exp", min_scale=0.0)`` and a ``StandardNormal`` prior the loss is then
Pythae's, plus the constant D/2 · log 2π nats that its ``"mse"`` leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError


class PythaeEncoder(nn.Module):
    """Adapter for an encoder in Pythae's convention: examples (b, h, w, c) or (b, D) → features (b, f).

    Parameters
    ----------
    encoder : nn.Module
        Used unchanged; after training it can be used with Pythae again.
    outputs : sequence of str
        Which of its outputs, each (b, ·), are concatenated to the features. The default suits
        ``DiagonalGaussianHead(d, scale="exp")``. ``("embedding",)`` suits a ``DeterministicHead``, for
        Pythae's autoencoders without noise.

    Examples
    --------
    >>> class Net(nn.Module):
    ...     def forward(self, x):  # (b, 1, 8, 8)
    ...         rows = x.flatten(1)
    ...         return {"embedding": rows[:, :2], "log_covariance": rows[:, 2:4]}
    >>> PythaeEncoder(Net())(torch.zeros(5, 8, 8, 1)).shape
    torch.Size([5, 4])
    """

    def __init__(self, encoder: nn.Module, *, outputs: Sequence[str] = ("embedding", "log_covariance")):
        super().__init__()
        self.encoder = encoder
        self.outputs = tuple(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features (b, f): the named outputs, concatenated.

        Raises
        ------
        UsageError
            If an output is missing or is not one row for each example.
        """
        # Contiguous, as Pythae's own data are: the network may call view().
        found = self.encoder(x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x)
        parts = [_read(found, name, self.encoder) for name in self.outputs]
        for name, part in zip(self.outputs, parts, strict=True):
            if part.ndim != 2 or len(part) != len(x):
                raise UsageError(
                    f"{type(self.encoder).__name__} gives {name} of shape {tuple(part.shape)} for {len(x)} "
                    f"examples; it must give a row for each, ({len(x)}, d)"
                )
        return torch.cat(parts, -1)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"outputs={self.outputs}"


class PythaeDecoder(nn.Module):
    """Adapter for a decoder in Pythae's convention: codes (n, d) → features (n, h, w, c) or (n, D).

    Pythae's decoders end in a sigmoid. Its output is not enough for a likelihood that takes logits: beyond a
    logit of about 17 in float32, or 6 in bfloat16, the probability is 1 and its gradient 0. With
    ``logits=True`` the features are therefore the *input* of the decoder's last ``nn.Sigmoid``. The first
    pass checks that this sigmoid gives the output. If there is no such layer, or it is not the last
    operation, the features are log μ/(1 − μ) of the output μ, limited to ±16 in float32 and without a
    gradient beyond.

    Parameters
    ----------
    decoder : nn.Module
        Used unchanged; after training it can be used with Pythae again.
    logits : bool
        False: the features are the reconstruction, which ``GaussianHead`` reads as means. True: they are
        its logits, as ``BernoulliHead`` or ``GaussianHead(mean="sigmoid")`` read them.

    Examples
    --------
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = nn.Sequential(nn.Linear(2, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    ...     def forward(self, z):
    ...         return {"reconstruction": self.layers(z)}
    >>> net = Net()
    >>> z = torch.tensor([[500.0, 0.0]])
    >>> PythaeDecoder(net, logits=False)(z).shape
    torch.Size([1, 8, 8, 1])
    >>> torch.equal(PythaeDecoder(net, logits=True)(z).flatten(), net.layers[0](z).flatten())
    True
    """

    def __init__(self, decoder: nn.Module, *, logits: bool):
        super().__init__()
        self.decoder = decoder
        self.logits = logits
        self._listening = False
        self._heard: Tensor | None = None
        self._ends_in_sigmoid: bool | None = None
        sigmoids = [module for module in decoder.modules() if isinstance(module, nn.Sigmoid)]
        if logits and sigmoids:
            # A permanent hook: the training step looks for hooks only once, when it begins.
            sigmoids[-1].register_forward_pre_hook(self._hear)

    def _hear(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._listening:
            self._heard = inputs[0]

    def forward(self, z: Tensor) -> Tensor:
        """Features (n, h, w, c) or (n, D) of codes (n, d).

        Raises
        ------
        UsageError
            If there is no ``reconstruction``, or its logits would have to be computed from half precision.
        """
        self._listening = True
        try:
            found = self.decoder(z)
            heard = self._heard
        finally:
            self._listening, self._heard = False, None
        reconstruction = _read(found, "reconstruction", self.decoder)
        features = self._logits_of(reconstruction, heard) if self.logits else reconstruction
        return features.permute(0, 2, 3, 1) if features.ndim == 4 else features

    def _logits_of(self, reconstruction: Tensor, heard: Tensor | None) -> Tensor:
        if self._ends_in_sigmoid is None and reconstruction.numel():  # once, as it waits for the device
            self._ends_in_sigmoid = heard is not None and _same(torch.sigmoid(heard), reconstruction)
        if self._ends_in_sigmoid and heard is not None:
            return heard.reshape(reconstruction.shape)
        if torch.finfo(reconstruction.dtype).bits < 32:
            kind = str(reconstruction.dtype).removeprefix("torch.")
            raise UsageError(
                f"{type(self.decoder).__name__} gives probabilities in {kind}, too coarse for logits; "
                "train it with precision='fp32', let it end in a layer nn.Sigmoid(), or take logits=False "
                "with a GaussianHead"
            )
        return torch.logit(reconstruction, eps=torch.finfo(reconstruction.dtype).eps)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"logits={self.logits}"


def _same(values: Tensor, others: Tensor) -> bool:
    """Whether two tensors hold the same numbers in the same order, whatever their shapes."""
    if values.numel() != others.numel():
        return False
    values, others = values.detach().to(others.dtype).reshape(-1), others.detach().reshape(-1)
    return torch.allclose(values, others, equal_nan=True)


def _read(output: Any, name: str, network: nn.Module) -> Tensor:
    """Output of a network by its name, from a mapping or an object.

    Raises
    ------
    UsageError
        If there is no tensor of that name; those that are there are listed.
    """
    named = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    value = named[name] if name in named else getattr(output, name, None)
    if isinstance(value, Tensor):
        return value
    there = f"has {', '.join(map(str, named))}" if named else f"is a {type(output).__name__}"
    raise UsageError(
        f"{type(network).__name__} gives no {name!r}: its output {there}; in Pythae's convention an encoder "
        "gives 'embedding' and 'log_covariance', a decoder 'reconstruction'"
    )
