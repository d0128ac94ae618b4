"""How the examples of a data set were made of image files, so that a new file can be made into one likewise.

A `Dataset` carries a `Preparation` where it knows one, and a run keeps it in ``preparation.json``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from elboroom.data.rows import extent

Kind = Literal["array", "folder", "faces"]
Align = Literal["auto", "detect", "landmarks", "crop", "none"]
Template = Literal["person", "dog"]
Range = tuple[float, float]

# Ranges that pictures of floats are usually scaled to.
USUAL_RANGES: tuple[Range, ...] = ((0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0), (0.0, 255.0))


@dataclass(frozen=True)
class PhotoSteps:
    """What was done with each image file.

    Attributes
    ----------
    align : {"auto", "detect", "landmarks", "crop", "none"}
        "detect" and "landmarks": the face was found by a detector, or its landmarks came with the photo, and
        it was turned, scaled and cut so that its parts lie where `template` has them. "auto": by landmarks
        where they came with the photo, as it was where it is a crop of the set UTKFace, else by the detector.
        "crop": the largest centred part of the aspect was resized. "none": the image had this size already,
        or was a face crop that was only resized.
    size : (int, int)
        Height and width of the result in pixels.
    channels : {1, 3}
        Grey or colour.
    template : {"person", "dog"}
        See `elboroom.data.faces.geometry.TEMPLATES`; of no meaning unless the face was aligned.
    detector : str
        Which detector: see `elboroom.data.faces.detect.make_detector`.
    white : int
        The value that became 255 in images of 16 bits: 65535, or 255, 1023 or 4095 if no image had a higher
        one; of no meaning for images of 8 bits.
    """

    align: Align
    size: tuple[int, int]
    channels: int
    template: Template = "person"
    detector: str = "auto"
    white: int = 65535

    def __post_init__(self) -> None:
        if self.align not in get_args(Align) or self.template not in get_args(Template):
            raise ValueError(
                f"images cannot be prepared with align {self.align!r}, template {self.template!r}"
            )
        sides = [*self.size, self.channels]
        if len(sides) != 3 or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
            raise ValueError(f"size {self.size!r} and channels {self.channels!r} are not those of an image")
        if type(self.white) is not int or not 1 <= self.white <= 65535:
            raise ValueError(f"white is {self.white!r}; it must be a value of 16 bits")
        if not isinstance(self.detector, str):
            raise ValueError(f"detector is {self.detector!r}; it must be a name")  # noqa: TRY004

    @property
    def finds_faces(self) -> bool:
        """Whether the face was found and aligned."""
        return self.align in ("auto", "detect", "landmarks")


@dataclass(frozen=True)
class Preparation:
    """How the examples of a data set came to be.

    Attributes
    ----------
    kind : {"array", "folder", "faces"}
        "array": they were pixels or numbers already, and nothing is known of their making. "folder": decoded
        from image files. "faces": cut out of photos by ``elboroom data faces``.
    by_label : tuple of (str, PhotoSteps)
        For each label what was done with its files, in the order of the labels; one with the name "" if all
        were treated alike. Empty for arrays.
    value_range : (float, float)
        The values, in model units, that black and white have: (0, 1) for 8-bit pixels, and for floats what
        the training data say; see `value_range_of`.
    stored : (int, int), optional
        Height and width of the images whose centre crop is an example, if they are larger than it.

    Examples
    --------
    >>> made = Preparation("folder", (("", PhotoSteps("crop", (64, 64), 3)),))
    >>> Preparation.from_json(made.to_json()) == made
    True
    """

    kind: Kind = "array"
    by_label: tuple[tuple[str, PhotoSteps], ...] = ()
    value_range: Range = (0.0, 1.0)
    stored: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(get_args(Kind))}")
        low, high = self.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"value_range is {self.value_range!r}; it must be two finite numbers, low < high"
            )
        sides = (1, 1) if self.stored is None else self.stored
        if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
            raise ValueError(f"stored is {self.stored!r}; it must be the height and width of an image")

    def for_new_photos(self) -> tuple[PhotoSteps, ...]:
        """What to try with a new image file, whose label is not known, in this order.

        First a face is looked for, if that was done for any label, with a person's template if any label
        has that. Then comes the crop of the labels that were cropped.
        """
        known = [each for _, each in self.by_label]
        found = sorted(
            (each for each in known if each.finds_faces), key=lambda each: each.template != "person"
        )
        others = [each for each in known if not each.finds_faces]
        return (*found[:1], *others[:1])

    def to_json(self) -> dict[str, Any]:
        """Write it as JSON's types; `from_json` reads them."""
        ways = [{"label": label, **asdict(each), "size": list(each.size)} for label, each in self.by_label]
        held = {"kind": self.kind, "ways": ways, "value_range": list(self.value_range)}
        return held if self.stored is None else held | {"stored": list(self.stored)}

    @classmethod
    def from_json(cls, held: Any) -> Preparation:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it is something else.
        """
        try:
            by_label = []
            for entry in held["ways"]:
                fields = dict(entry)
                label = fields.pop("label")
                if not isinstance(label, str):
                    raise ValueError(f"the label {label!r} is no name")  # noqa: TRY004
                by_label.append((label, PhotoSteps(**{**fields, "size": tuple(fields["size"])})))
            low, high = held["value_range"]
            stored = held.get("stored")
            sides = None if stored is None else tuple(stored)
            return cls(held["kind"], tuple(by_label), (float(low), float(high)), sides)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"it does not say how examples were made ({error})") from None


def value_range_of(x: Any, scale: float) -> Range:
    """Say which values in model units, ``x / scale``, are black and white in a data set's images.

    Parameters
    ----------
    x : numpy.ndarray or Joined
        Images ``(n, h, w, c)``, uint8 or float32.
    scale : float
        As in `Dataset`.

    Returns
    -------
    (float, float)
        For uint8 (0, 255/scale), or (0, 1) where the scale is lower than 255. For floats the first of [0, 1],
        [−½, ½], [−1, 1] and [0, 255] that the values fill: none lies outside by more than 1 % of its width,
        and the extremes reach at least halfway from 0 to both ends. Otherwise the extremes themselves.

    Examples
    --------
    >>> value_range_of(np.array([-0.9, 0.8], np.float32), 1.0)
    (-1.0, 1.0)
    >>> value_range_of(np.array([-0.4, 2.75], np.float32), 1.0)
    (-0.4..., 2.75)
    """
    if x.dtype == np.uint8:
        return 0.0, 255.0 / max(scale, 255.0)
    low, high = (float(value) / scale for value in extent(x))
    for black, white in USUAL_RANGES:
        spare = 0.01 * (white - black)  # resampling overshoots a little
        reaches = white / 2 <= high and (black == 0 or low <= black / 2)
        if reaches and black - spare <= low and high <= white + spare:
            return black, white
    if low >= 0 and high <= 1:  # dim pictures, or a single grey
        return 0.0, 1.0
    return (low, high) if low < high else (low, low + 1.0)
