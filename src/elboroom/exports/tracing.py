"""A network as a graph of tensor operations, for any number of examples and without a random node."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.export import Dim, ExportedProgram

from elboroom.errors import FailureError, one_line

if TYPE_CHECKING:
    from elboroom.exports.networks import Network

BATCH = "n"
"""Name of the dimension that counts examples, which is free."""
# A batch of one would be taken for a constant.
_DROPOUT = 4  # among the arguments of scaled_dot_product_attention
_TRACED = 3


def traced(network: Network) -> ExportedProgram:
    """Trace a network with ``torch.export``, its first dimension free.

    Raises
    ------
    FailureError
        If PyTorch cannot trace it, or it draws random numbers.
    """
    examples = tuple(tensor[:_TRACED] for tensor in network.examples)
    free = Dim(BATCH, min=1)
    dims = {port.name: {0: free} for port in network.inputs}
    with quiet(), torch.no_grad():
        try:
            # Strict: it follows len(x), which the other way takes for a constant.
            program = torch.export.export(network.module, examples, dynamic_shapes=dims, strict=True)
        except Exception as error:  # any of PyTorch's compiler
            reason = one_line(str(error).split("\n\n")[0])
            raise FailureError(
                f"the {network.name} cannot be exported: torch.export says {reason[:200]!r}"
            ) from error
    random = [
        str(node.target)
        for node in program.graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        and not _without_dropout(node)
    ]
    if random:
        raise FailureError(
            f"the {network.name} cannot be exported: it draws random numbers ({random[0]}); what is exported "
            "must give the same result at every call"
        )
    _keep_what_it_uses(program)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    return program


def _keep_what_it_uses(program: ExportedProgram) -> None:
    """Drop the weights of the model's other parts, which PyTorch would save with the program."""
    signature = program.graph_signature
    used = {*signature.parameters, *signature.buffers}
    for name in [name for name in program.state_dict if name not in used]:
        del program.state_dict[name]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what PyTorch's exporters say of their own workings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _without_dropout(node: torch.fx.Node) -> bool:
    """Whether it is attention that drops nothing; its operator is marked as random for dropout's sake."""
    if node.target is not torch.ops.aten.scaled_dot_product_attention.default:
        return False
    share = node.args[_DROPOUT] if len(node.args) > _DROPOUT else node.kwargs.get("dropout_p", 0.0)
    return bool(share == 0.0)
