"""What the standard figures share: examples, codes and the morph, each computed once and only if needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from elboroom.evaluation.examples import examples_of
from elboroom.evaluation.neighbours import embed_rows
from elboroom.figures import by_class, conditional, images
from elboroom.latent.arrays import Numbers, codes_title, evenly, numbers
from elboroom.latent.planes import Plane, principal_plane
from elboroom.models.conditioning import Condition, Examples, apart, together
from elboroom.models.vae import VAE, Array

if TYPE_CHECKING:
    from elboroom.data.dataset import Dataset

STEPS = 25  # images of the morph

_MOST_EXAMPLES = 10_000  # that are encoded or scored
_MOST_CANDIDATES = 1000  # among which the endpoints of the morph are chosen
_MOST_CONDITIONS = 10  # that samples are drawn for
_MOST_REFERENCE = 5000  # training examples that the directions between classes are fitted to


class Scene:
    """A trained model and its data, as the standard figures look at them.

    Parameters
    ----------
    vae : VAE
        The model.
    data : Dataset
        Its test part is shown, or all of it if there is none.
    history : sequence of mappings
        One per epoch; may be empty.
    marks : mapping of str to array, optional
        Named examples (*shape).
    condition : int, str or array, optional
        The condition to draw a conditional model with.
    prior : str
        What titles call the model's prior.
    """

    def __init__(
        self,
        vae: VAE,
        data: Dataset,
        history: Sequence[Mapping[str, Any]] = (),
        marks: Mapping[str, Array] | None = None,
        condition: Condition | None = None,
        prior: str = "prior",
    ):
        self.vae, self.data, self.history, self.condition = vae, data, history, condition
        self.prior = prior
        self.part: Literal["test", "all"] = "test" if len(data.indices("test")) else "all"
        self.marks = marks or {}
        self.rows = data.indices(self.part)
        self.rows = self.rows[evenly(len(self.rows), _MOST_EXAMPLES)]

    def titled(self, title: str) -> str:
        """Fill in what the title of a figure leaves open: examples, count, condition and prior."""
        if "{" not in title:
            return title
        return title.format(
            examples=self.noun,
            Examples=self.noun.capitalize(),
            count=f"{len(self.x):,}",
            codes=codes_title(self.vae),
            given=self.given,
            prior=self.prior,
        )

    @property
    def noun(self) -> str:
        """What titles call the examples."""
        return by_class.examples_of_part(self.part)

    @property
    def given(self) -> str:
        """The condition of ``conditioned`` as titles append it; empty for an unconditional model."""
        if not isinstance(self.x, Examples):
            return ""
        condition = self.x.condition[0] if self.condition is None else self.condition
        return f", given {conditional.name_of(self.vae, condition)}"

    @cached_property
    def x(self) -> Array:
        """Examples (n, *shape) in model units, of a conditional model with their conditions."""
        return examples_of(self.vae, self.data, self.rows)

    @cached_property
    def labels(self) -> Numbers | None:
        """Labels of the examples, (n,)."""
        return None if self.data.labels is None else np.asarray(self.data.labels)[self.rows]

    @cached_property
    def classes(self) -> list[int]:
        """Labels that occur, ascending."""
        return [] if self.labels is None else np.unique(self.labels).tolist()

    @property
    def by_label(self) -> bool:
        """Whether the model is conditional on labels."""
        return self.vae.condition is not None and self.vae.condition.kind == "labels"

    @cached_property
    def conditioned(self) -> VAE:
        """The model; a conditional one given the condition asked for, or the first example's."""
        if not isinstance(self.x, Examples):
            return self.vae
        return self.vae.given(self.x.condition[0] if self.condition is None else self.condition)

    @cached_property
    def x_given(self) -> Array:
        """Examples that have the condition of ``conditioned``; all if there are none."""
        if not isinstance(self.x, Examples):
            return self.x
        own = self.vae.condition_vectors(self.x.condition, len(self.x))
        given = self.vae.condition_vectors(
            self.x.condition[:1] if self.condition is None else self.condition, 1
        )
        assert own is not None
        assert given is not None
        same = (own == given).all(1).cpu().numpy()
        return apart(self.x)[0][same] if same.any() else apart(self.x)[0]

    @cached_property
    def conditions(self) -> tuple[list[Condition], list[str]]:
        """Conditions to draw samples with, and their names."""
        return conditional.conditions_to_show(self.vae, self.x, _MOST_CONDITIONS)

    @cached_property
    def plane(self) -> Plane | None:
        """The plane in which the codes vary most; None with one or two latent dimensions."""
        return principal_plane(self.vae, self.x) if self.vae.latent_dim > 2 else None

    @property
    def grid(self) -> Tensor:
        """Codes (g, g, d) over the prior, or in ``plane``."""
        if self.plane is None:
            return images.manifold_grid(self.conditioned)
        return self.plane.grid(self.conditioned)

    @property
    def of_table(self) -> bool:
        """Whether the examples are rows of a table with columns of several kinds."""
        return bool(getattr(self.vae.likelihood, "columns", ()))

    @property
    def directions(self) -> tuple[tuple[str, str], tuple[Numbers, Numbers]]:
        """Short names of the two directions of ``grid``, and its coordinates along them, ascending."""
        if self.plane is not None:
            steps = self.grid.shape[0]
            across, up = (np.linspace(-tick, tick, steps) for tick in self.plane.ticks)
            return ("direction 1 (sd)", "direction 2 (sd)"), (across, up)
        return directions_of(self.grid)

    @cached_property
    def endpoints(self) -> tuple[Array, Array]:
        """Two examples (*shape) worth morphing into each other."""
        chosen = evenly(len(self.x), _MOST_CANDIDATES)
        labels = None if self.labels is None else self.labels[chosen]
        a, b = morph_endpoints(self.vae, self.x[chosen], labels)
        return self.x[chosen[a]], self.x[chosen[b]]

    @cached_property
    def path(self) -> Tensor:
        """Codes of the morph, (steps, d)."""
        first, last = self.vae.embed(together(self.endpoints))
        return torch.lerp(first, last, torch.linspace(0, 1, STEPS).to(first)[:, None])

    @cached_property
    def reference(self) -> tuple[Array, Array] | None:
        """Codes and labels of training examples, to fit the directions that separate the classes."""
        if self.data.labels is None or self.vae.latent_dim < 3:
            return None
        rows = self.data.indices("train")
        rows = rows[evenly(len(rows), _MOST_REFERENCE)]
        return embed_rows(self.vae, self.data, rows), np.asarray(self.data.labels)[rows]


def directions_of(grid: Tensor) -> tuple[tuple[str, str], tuple[Numbers, Numbers]]:
    """Names of the directions of a grid in one or two dimensions, and its coordinates, ascending."""
    codes = numbers(grid)
    if codes.shape[-1] == 1:
        return ("$z_0$", ""), (codes[0, :, 0], np.zeros(1))
    return ("$z_0$", "$z_1$"), (codes[0, :, 0], codes[::-1, 0, 1])


def morph_endpoints(vae: VAE, x: Array, labels: Numbers | None) -> tuple[int, int]:
    """Choose two well reconstructed examples with codes far apart, of different labels if there are labels.

    Among the best reconstructed examples, one per label, the two whose codes are farthest apart are taken.
    The reconstruction error is relative to an example's own variance: otherwise the dullest examples would
    win.
    """
    flat, decoded = (numbers(values).reshape(len(x), -1) for values in (x, vae.reconstruct(x)))
    contrast = flat.var(1) if flat.shape[1] > 1 else np.ones(len(flat))
    error = np.square(flat - decoded).mean(1) / np.maximum(contrast, 1e-6)
    order = np.argsort(error, kind="stable")
    few = order[: max(2, len(order) // 20)]
    if labels is not None and len(np.unique(labels)) > 1:
        _, first = np.unique(labels[order], return_index=True)
        few = order[np.sort(first)[:100]]
    codes = numbers(vae.embed(x[few]))
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    a, b = sorted(int(few[i]) for i in np.unravel_index(int(distances.argmax()), distances.shape))
    return a, b
