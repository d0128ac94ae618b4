"""What to do about a photo that is rebuilt worse than those that a model has learned."""

from __future__ import annotations

from dataclasses import dataclass

from elboroom.evaluation.photo_changes import Floats

USUAL = (5.0, 95.0)
"""Percentiles of training photos between which a quality is usual."""

_HELPS = 0.1  # least share of the error that a change must take away to be advised


@dataclass(frozen=True)
class Quality:
    """A number of a photo among those of training photos.

    Attributes
    ----------
    usual : (float, float)
        From the 5th to the 95th percentile of the training photos.
    percentile : float
        Of the photo among them, 0 to 100; those equal to it count half.
    """

    value: float
    usual: tuple[float, float]
    percentile: float


@dataclass(frozen=True)
class Change:
    """A photo after one of its qualities was matched to the training photos' median.

    Attributes
    ----------
    what : str
        What was done.
    gain : float
        Share of the error that it takes away; negative if it adds to it. The change is taken back from the
        reconstruction first, so that both errors are those of the photo as it is; they are measured in its
        middle, which no placement moves out of the picture.
    picture, rebuilt : array
        (h, w, c) in [0, 1], changed.
    """

    what: str
    gain: float
    picture: Floats
    rebuilt: Floats


_ADVICE = {
    "place": "it is not where the model looks for it: --prepare faces cuts a face out and aligns it, and "
    "'elboroom data annotate' takes eyes that you mark",
    "brightness": "change its brightness",
    "contrast": "change its contrast and brightness",
    "saturation": "change its saturation",
    "fine detail": "give a softer version of it",
    "all": "change several things together",
}


@dataclass(frozen=True)
class Advice:
    """What to do about a photo.

    Attributes
    ----------
    text : str
        A sentence without its full stop.
    remedy : str or None
        The change that it names.
    """

    text: str
    remedy: str | None = None


def advise(qualities: dict[str, Quality], held_out: Quality | None, tried: dict[str, Change]) -> Advice:
    """Say what to do about a photo, from what was measured and tried."""
    if qualities["error"].percentile <= USUAL[1]:
        text = "it is rebuilt as well as training photos are"
        if qualities["code distance"].percentile > USUAL[1]:
            return Advice(f"{text}, but its code is far from theirs: see whether it shows what they show")
        return Advice(f"{text}, and nothing needs to be changed")
    if held_out is not None and held_out.percentile <= USUAL[1]:
        return Advice(
            "it is rebuilt as well as other photos that the model has not seen; training on more photos, or "
            "with --flip, brings these nearer to the training photos"
        )
    chosen = _remedy(qualities, tried)
    if chosen is not None:
        what, gain = tried[chosen].what, f"{tried[chosen].gain:.0%}".replace("%", " %")
        return Advice(f"{_ADVICE[chosen]} ({what}), which takes away {gain} of the error", chosen)
    if qualities["fine detail"].percentile > USUAL[1]:
        return Advice(
            "it has finer detail than the training photos, and the model has not learned to rebuild that; a "
            "larger model, or training photos as sharp as this one, would"
        )
    if qualities["code distance"].percentile > USUAL[1]:
        return Advice(
            "it is unlike the training photos, and no change that was tried mends that; add photos like it "
            "to the training set, and continue with 'elboroom train DATA --start-from RUN'"
        )
    return Advice("no change that was tried helps; a larger model or a longer training may")


def _remedy(qualities: dict[str, Quality], tried: dict[str, Change]) -> str | None:
    """Name the change to advise: the best, or a single one that is nearly as good."""
    gains = {name: change.gain for name, change in tried.items()}
    if qualities["gain by moving"].percentile <= USUAL[1]:
        gains.pop("place", None)  # training photos gain as much
    if not gains or max(gains.values()) < _HELPS:
        return None
    best = max(gains, key=gains.__getitem__)
    single = max((name for name in gains if name != "all"), key=gains.__getitem__)
    return single if gains[single] >= gains[best] - _HELPS else best
