"""The cases to measure: networks, tasks, batch and data sizes, and the programs that take part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["train", "nll", "embed"]
GROUPS = ("mlp", "conv", "nll", "embed", "scaling", "start")

OURS = ("elboroom", "elboroom-fp32")
RIVALS = ("pythae", "plain", "plain-bf16", "jax")
ALL = (*OURS, "elboroom-compiled", *RIVALS, "products", "products-fp32")
USING = (*OURS, *RIVALS, "products")
CURVES = ("elboroom", "pythae", "plain", "jax")


@dataclass(frozen=True)
class Net:
    """Encoder and decoder, the same in all programs.

    Attributes
    ----------
    shape : tuple of int
        Of one image, (h, w, c).
    hidden : tuple of int
        Widths of the encoder's hidden layers, the decoder's in reverse; empty for elboroom's
        convolutional nets.
    latent_dim : int
        Numbers in a code.
    """

    shape: tuple[int, int, int]
    hidden: tuple[int, ...]
    latent_dim: int

    @property
    def title(self) -> str:
        """Usual short notation, such as 784-1000-2."""
        if not self.hidden:
            return f"conv {'×'.join(map(str, self.shape))}"
        return "-".join(map(str, (math.prod(self.shape), *self.hidden, self.latent_dim)))


@dataclass(frozen=True)
class Case:
    """One task that several programs are measured on.

    Attributes
    ----------
    name : str
        Unique in a run.
    group : str
        One of ``GROUPS``.
    task : {"train", "nll", "embed"}
        Steps of Adam; importance-sampled log-likelihood; posterior means.
    net : Net
        What is trained or used.
    batch : int
        Examples of a training step.
    examples : int
        Images in the data set.
    per : int
        Times are reported for so many images.
    num_samples : int
        Importance samples of one image, for the nll.
    programs : tuple of str
        Who takes part.
    """

    name: str
    group: str
    task: Task
    net: Net
    batch: int = 100
    examples: int = 60_000
    per: int = 60_000
    num_samples: int = 1000
    programs: tuple[str, ...] = ALL

    def to_json(self) -> dict[str, Any]:
        """Return a dict that :meth:`from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Case:
        """Restore a case from :meth:`to_json`; JSON turns tuples into lists."""
        net = Net(tuple(fields["net"]["shape"]), tuple(fields["net"]["hidden"]), fields["net"]["latent_dim"])
        return cls(**{**fields, "net": net, "programs": tuple(fields["programs"])})


MNIST = (28, 28, 1)
SMALL_CODE = Net(MNIST, (1000,), 2)
DEEP = Net(MNIST, (400, 400), 20)
CONV = Net((64, 64, 3), (), 32)

BATCHES = (32, 100, 400, 2000)
DATA_SIZES = (10_000, 60_000, 250_000, 1_000_000)
WIDTHS = (250, 500, 1000, 2000, 4000)
LATENT_DIMS = (2, 10, 50, 200)


def mlp_name(net: Net, batch: int) -> str:
    """Name of the case that trains ``net`` in batches of ``batch``."""
    return f"{net.title} B={batch}"


def make_cases(groups: Sequence[str], *, quick: bool = False) -> list[Case]:
    """Return all cases of these groups; ``quick`` keeps a few of each.

    Examples
    --------
    >>> [case.name for case in make_cases(["mlp", "nll"], quick=True)]
    ['784-1000-2 B=100', '784-1000-2 B=400', 'nll 784-1000-2']
    """
    cases: list[Case] = []
    if "mlp" in groups:
        nets, batches = ((SMALL_CODE,), (100, 400)) if quick else ((SMALL_CODE, DEEP), BATCHES)
        cases += [Case(mlp_name(net, batch), "mlp", "train", net, batch) for net in nets for batch in batches]
    if "conv" in groups:
        cases.append(Case(f"{CONV.title} B=64", "conv", "train", CONV, 64, examples=4_000))
    if "nll" in groups:
        few: dict[str, Any] = {"examples": 1000, "per": 1000, "programs": USING}
        cases.append(Case(f"nll {SMALL_CODE.title}", "nll", "nll", SMALL_CODE, **few))
    if "embed" in groups:
        cases.append(Case(f"embed {SMALL_CODE.title}", "embed", "embed", SMALL_CODE, programs=USING))
    if "scaling" in groups:
        cases += _curves(quick)
    return cases


def _curves(quick: bool) -> list[Case]:
    """Return cases that vary one size at a time; ``data=60000`` is a point of every curve."""
    every = 2 if quick else 1
    sizes = DATA_SIZES[:2] if quick else DATA_SIZES
    nets = {f"data={n}": (SMALL_CODE, n) for n in sizes}
    nets |= {f"width={w}": (Net(MNIST, (w,), 2), 60_000) for w in WIDTHS[::every]}
    nets |= {f"latent={d}": (Net(MNIST, (1000,), d), 60_000) for d in LATENT_DIMS[::every]}
    return [
        Case(name, "scaling", "train", net, examples=n, programs=CURVES)
        for name, (net, n) in nets.items()
        if net != SMALL_CODE or name.startswith("data")
    ]


def curves() -> dict[str, list[tuple[int, str]]]:
    """What is scaled → its values, each with the case in which it is measured.

    Examples
    --------
    >>> curves()["latent"][:2]
    [(2, 'data=60000'), (10, 'latent=10')]
    """
    values = {"data": (DATA_SIZES, 60_000), "width": (WIDTHS, 1000), "latent": (LATENT_DIMS, 2)}
    return {
        name: [(v, f"{name}={v}" if v != common else "data=60000") for v in sizes]
        for name, (sizes, common) in values.items()
    }
