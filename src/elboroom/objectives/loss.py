"""From examples to the loss in one module, for training loops of one's own."""

from __future__ import annotations

from torch import Tensor, nn

from elboroom.models.conditioning import Condition
from elboroom.models.vae import VAE
from elboroom.objectives.objective import Objective


class Loss(nn.Module):
    """A VAE and its objective as one module: examples in, scalar loss out.

    Frameworks that wrap a module, and expect tensors from its forward pass, can wrap this one: DDP, FSDP,
    Accelerate, Lightning Fabric.

    Parameters
    ----------
    vae : VAE
        The model to train.
    objective : Objective
        The objective. Its critics, if it has any, are trained by the same backward pass.

    Examples
    --------
    >>> import torch
    >>> from elboroom import VAE, Objective
    >>> loss = Loss(VAE.build(shape=(5,), hidden=[4]), Objective(beta=4.0))
    >>> optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    >>> for step in range(3):
    ...     optimizer.zero_grad()
    ...     loss(torch.rand(8, 5), step).backward()
    ...     optimizer.step()
    """

    def __init__(self, vae: VAE, objective: Objective):
        super().__init__()
        self.vae = vae
        self.objective = objective

    def forward(self, x: Tensor, step: int, condition: Condition | None = None) -> Tensor:
        """Compute the loss of a batch, a scalar in nats per example.

        Parameters
        ----------
        x : Tensor
            Examples in model units, (b, *shape); :meth:`elboroom.VAE.as_input` converts arrays.
        step : int
            The number of the step, counted from 0, on which schedules depend.
        condition : int, str or array, optional
            The condition of each example of a conditional model, or one for all.
        """
        terms = self.vae(x, self.objective.num_samples, condition)
        loss: Tensor = self.objective(terms, step)
        for own in self.objective.own_losses(terms).values():
            loss = loss + (own - own.detach())  # the gradient of a critic, without a change of the value
        return loss
