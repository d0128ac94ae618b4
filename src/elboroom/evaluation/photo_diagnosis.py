"""Why a photo is rebuilt worse than those that a model has learned."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation import photo_changes as changes
from elboroom.evaluation.examples import examples_of
from elboroom.evaluation.photo_advice import USUAL, Advice, Change, Quality, advise
from elboroom.evaluation.photo_changes import Floats, Placement
from elboroom.latent.arrays import codes_of, numbers
from elboroom.models.conditioning import Examples, apart
from elboroom.models.vae import VAE, Array

_SAMPLE = 500  # training photos, and held-out ones, that a photo is set beside
_MOVED = 20  # training photos for which the best place is looked for too
_NEIGHBOURS = 5
_FEWEST = 20
_MARGIN = 0.2  # of each side, at each end

_Rebuild = Callable[[Floats], Floats]


@dataclass(frozen=True)
class PhotoDiagnosis:
    """What was found about one photo.

    Attributes
    ----------
    picture, rebuilt : array
        (h, w, c) in [0, 1].
    qualities : dict of str to Quality
        ``error`` (of the reconstruction, as a share of the photo's variance) and its two parts ``shading``
        and ``detail``; ``brightness``, ``contrast``, ``saturation`` of photos in colour, ``fine detail``;
        ``code distance``, the mean to the 5 nearest codes of training photos; and ``gain by moving``, the
        gain of the best place, as in `Change`, once its contrast is that of training photos.
    held_out : Quality or None
        The error among those of held-out photos; None if there are too few.
    changes : dict of str to Change
        By quality, and ``all``: those that help, one after the other.
    advice : Advice
        What to do.
    """

    picture: Floats
    rebuilt: Floats
    qualities: dict[str, Quality]
    held_out: Quality | None
    changes: dict[str, Change]
    advice: Advice

    @property
    def error(self) -> float:
        """Of the reconstruction, as a share of the photo's variance."""
        return self.qualities["error"].value

    @property
    def matched(self) -> Change | None:
        """The change that is advised."""
        return None if self.advice.remedy is None else self.changes[self.advice.remedy]

    def as_json(self) -> dict[str, Any]:
        """All numbers, without the pictures."""
        return {
            "qualities": {name: _as_json(one) for name, one in self.qualities.items()},
            "held_out": None if self.held_out is None else _as_json(self.held_out),
            "changes": {name: {"what": one.what, "gain": one.gain} for name, one in self.changes.items()},
            "advice": self.advice.text,
            "remedy": self.advice.remedy,
        }


class KnownPhotos:
    """Training photos of a model, and held-out ones, that photos are set beside.

    Parameters
    ----------
    vae : VAE
        Of pictures, grey or in colour, whose values in training become 0 to 1.
    data : Dataset
        What it was trained on.
    seed : int
        Of the choice of at most 500 photos of each kind.

    Attributes
    ----------
    count : int
        Of the training photos that were chosen.

    Raises
    ------
    UsageError
        If the data are no such pictures, or there are fewer than 20 training examples.
    """

    def __init__(self, vae: VAE, data: Dataset, *, seed: int = 0):
        if len(vae.shape) != 3 or vae.shape[2] not in (1, 3):
            raise UsageError(f"the model takes examples of shape {vae.shape}; only photos can be diagnosed")
        self.vae = vae
        rng = np.random.default_rng(seed)
        train, unseen = (_some(data.indices(part), rng) for part in ("train", "test"))
        if len(unseen) < _FEWEST:
            unseen = _some(data.indices("validation"), rng)
        if len(train) < _FEWEST:
            raise UsageError(f"{data.name} has {len(train)} training examples; give at least {_FEWEST}")
        given = examples_of(vae, data, train)
        pictures, rebuilt = self._both(given)
        varied = np.flatnonzero(changes.contrast(pictures) > 0)  # of the others there is nothing to explain
        if len(varied) < _FEWEST:
            raise UsageError(f"{len(varied)} of {len(train)} training photos have more than one colour")
        given, pictures, rebuilt = given[varied], pictures[varied], rebuilt[varied]
        self.codes = NearestNeighbors(n_neighbors=_NEIGHBOURS + 1).fit(_rows(codes_of(vae, given)))
        self.count = len(varied)
        self.numbers = _measured(pictures, rebuilt)
        self.numbers["code distance"] = self.codes.kneighbors()[0][:, :_NEIGHBOURS].mean(1)
        self.held_out = None
        if len(unseen) >= _FEWEST:
            unknown, theirs = self._both(examples_of(vae, data, unseen))
            some = changes.contrast(unknown) > 0
            self.held_out = changes.unexplained(unknown[some], theirs[some]) if some.any() else None
        self._middle = {name: float(np.median(values)) for name, values in self.numbers.items()}
        moved = range(min(_MOVED, self.count))
        gains = [self._best_place(pictures[i], self._rebuild_of(given[i : i + 1]))[1] for i in moved]
        self.numbers["gain by moving"] = np.array(gains)

    def diagnose(self, photo: Array) -> PhotoDiagnosis:
        """Set a photo beside them.

        Parameters
        ----------
        photo : array
            (h, w, c) in model units; of a conditional model with its condition.

        Raises
        ------
        UsageError
            If the photo has one colour only.
        """
        given = photo[None]
        picture, rebuilt = (each[0] for each in self._both(given))
        if not changes.contrast(picture[None])[0] > 0:
            raise UsageError("the photo has one colour only, so that there is nothing to rebuild")
        rebuild = self._rebuild_of(given)
        place, gain = self._best_place(picture, rebuild)
        found = _measured(picture[None], rebuilt[None])
        distances = self.codes.kneighbors(_rows(codes_of(self.vae, given)), _NEIGHBOURS)[0]
        found |= {"code distance": distances.mean(1), "gain by moving": np.array([gain])}
        qualities = {name: _among(float(value[0]), self.numbers[name]) for name, value in found.items()}
        error = qualities["error"].value
        held_out = None if self.held_out is None else _among(error, self.held_out)
        tried = self._changes(picture, qualities, place, rebuild)
        return PhotoDiagnosis(
            picture, rebuilt, qualities, held_out, tried, advise(qualities, held_out, tried)
        )

    def _changes(
        self, picture: Floats, qualities: dict[str, Quality], place: Placement, rebuild: _Rebuild
    ) -> dict[str, Change]:
        """Match each quality to the median of training photos, and then all those that help."""
        middle = self._middle
        ways: dict[str, Callable[[Floats], changes.Way]] = {}
        for name, match in _MATCHING.items():
            # Detail that is not there cannot be given back.
            if name in qualities and not (name == "fine detail" and qualities[name].value <= middle[name]):
                ways[name] = functools.partial(match, middle)
        if place != Placement():
            ways["place"] = lambda _: changes.moved(place)
        found = {name: _changed(picture, way(picture), rebuild) for name, way in ways.items()}
        helping = [name for name in found if found[name].gain > 0]
        if "place" in helping and qualities["gain by moving"].percentile <= USUAL[1]:
            helping.remove("place")  # training photos gain as much
        if {"brightness", "contrast"} <= set(helping):
            helping.remove("brightness")  # which comes with contrast
        if len(helping) > 1:
            together = ways[helping[0]](picture)
            for name in helping[1:]:
                together = together.then(ways[name](together.forward(picture)))
            found["all"] = _changed(picture, together, rebuild)
        return found

    def _best_place(self, picture: Floats, rebuild: _Rebuild) -> tuple[Placement, float]:
        """Look for the place at which a picture is rebuilt best, and its gain.

        Its contrast is matched first, because what a model makes of a dark picture tells no place.
        """
        best, most = Placement(), 0.0
        picture = _MATCHING["contrast"](self._middle, picture).forward(picture)
        first = _middle_error(picture, rebuild(picture[None])[0])
        for step in _placements(max(picture.shape[:2])):
            tried = [_moved(best, one) for one in step]
            rebuilt = rebuild(np.stack([changes.placed(picture, one) for one in tried]))
            for one, image in zip(tried, rebuilt, strict=True):
                gain = _gain(first, _middle_error(picture, changes.placed(image, one.undone())))
                best, most = (one, gain) if gain > most else (best, most)
        return best, most

    def _rebuild_of(self, given: Array) -> _Rebuild:
        """Make the function that rebuilds pictures (n, h, w, c) in [0, 1], with one example's condition."""
        condition = apart(given)[1]
        black, white = self.vae.value_range

        def rebuild(pictures: Floats) -> Floats:
            x = (black + pictures * (white - black)).astype(np.float32)
            if condition is None:
                return self._unit(self.vae.reconstruct(x))
            return self._unit(self.vae.reconstruct(Examples(x, np.repeat(np.asarray(condition), len(x), 0))))

        return rebuild

    def _both(self, given: Array) -> tuple[Floats, Floats]:
        parts = [given[i : i + _SAMPLE // 5] for i in range(0, len(given), _SAMPLE // 5)]
        rebuilt = np.concatenate([self._unit(self.vae.reconstruct(part)) for part in parts])
        return self._unit(apart(given)[0]), rebuilt

    def _unit(self, x: Any) -> Floats:
        black, white = self.vae.value_range
        return np.clip((numbers(x).astype(np.float64) - black) / (white - black), 0, 1)


_Middle = Mapping[str, float]  # the median of each quality

_MATCHING: dict[str, Callable[[_Middle, Floats], changes.Way]] = {
    "brightness": lambda to, x: changes.with_brightness(x, to["brightness"]),
    "contrast": lambda to, x: changes.with_contrast(x, to["contrast"], to["brightness"]),
    "saturation": lambda to, x: changes.with_saturation(x, to["saturation"]),
    "fine detail": lambda to, x: changes.softened(x, to["fine detail"]),
}


def _changed(picture: Floats, way: changes.Way, rebuild: _Rebuild) -> Change:
    given = way.forward(picture)
    plain, rebuilt = rebuild(np.stack([picture, given]))
    after = _middle_error(picture, way.back(rebuilt))
    return Change(way.what, _gain(_middle_error(picture, plain), after), given, rebuilt)


def _gain(before: float, after: float) -> float:
    return 1 - after / before if before > 0 else 0.0


def _middle_error(picture: Floats, other: Floats) -> float:
    """Mean squared error in the middle of a picture."""
    cuts = [round(_MARGIN * side) for side in picture.shape[:2]]
    inside = tuple(slice(cut, side - cut) for cut, side in zip(cuts, picture.shape[:2], strict=True))
    return float(np.square(picture - other)[inside].mean())


def _measured(pictures: Floats, rebuilt: Floats) -> dict[str, Floats]:
    found = {
        "error": changes.unexplained(pictures, rebuilt),
        "shading": changes.unexplained_shading(pictures, rebuilt),
        "detail": changes.unexplained_detail(pictures, rebuilt),
        "brightness": changes.brightness(pictures),
        "contrast": changes.contrast(pictures),
    }
    if pictures.shape[3] > 1:
        found["saturation"] = changes.saturation(pictures)
    return {**found, "fine detail": changes.fine_detail(pictures)}


def _among(value: float, others: Floats) -> Quality:
    low, high = np.percentile(others, USUAL)
    below = 50 * ((others < value).mean() + (others <= value).mean())
    return Quality(value, (float(low), float(high)), float(below))


def _placements(side: int) -> Sequence[list[Placement]]:
    """Steps from the best place so far: shifts, then turns and scales, then finer shifts."""
    coarse, fine = (side * share for share in (0.06, 0.02))
    return (
        [Placement(y * coarse, x * coarse) for y, x in itertools.product(range(-2, 3), repeat=2)],
        [
            Placement(turn=turn, scale=scale)
            for turn, scale in itertools.product((-14, -7, 0, 7, 14), (0.8, 0.9, 1, 1.1, 1.25))
        ],
        [Placement(y * fine, x * fine) for y, x in itertools.product((-1, 0, 1), repeat=2)],
    )


def _moved(one: Placement, by: Placement) -> Placement:
    return Placement(one.down + by.down, one.right + by.right, one.turn + by.turn, one.scale * by.scale)


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(rows)[:_SAMPLE])


def _rows(codes: NDArray[Any]) -> NDArray[np.float64]:
    return codes.reshape(len(codes), -1).astype(np.float64)


def _as_json(quality: Quality) -> dict[str, Any]:
    return {"value": quality.value, "usual": list(quality.usual), "percentile": quality.percentile}
