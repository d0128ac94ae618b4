"""Choose alignment method and template of each folder before any face is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from elboroom.data.faces.align import AUTO
from elboroom.data.faces.detect import INSTALL, Detector, Search, Seen, is_installed, make_detector, search
from elboroom.data.faces.geometry import nearest_template
from elboroom.data.faces.landmarks import Landmarks
from elboroom.data.faces.photos import FacePlan, Photo, is_utkface, look, opened_to_search, upright_size
from elboroom.data.images import WHITE
from elboroom.data.preparation import Align, PhotoSteps, Preparation, Template
from elboroom.errors import UsageError

_LOOKED_AT = 40  # photos of a folder that decide whether faces are found in most of it


@dataclass(frozen=True)
class FaceOptions:
    """The options of `prepare_faces`, with the detector.

    Attributes
    ----------
    names : tuple of str
        Of the folders.
    methods : tuple of str
        For each folder.
    template : str
        One for all, or "auto".
    detector : str
        As the user gave it.
    made : Detector, optional
        The detector; None if there is none.
    shape : (int, int, int)
        Height, width and channels of a crop.
    white : int
        The value that becomes 255 in photos of 16 bits.
    """

    names: tuple[str, ...]
    methods: tuple[Align, ...]
    template: str
    detector: str
    made: Detector | None
    shape: tuple[int, int, int]
    white: int = WHITE

    @property
    def used(self) -> str:
        """The detector's name or, if it was given, its path: what finds the same faces again."""
        if self.made is None:
            return "none"
        return self.detector if self.detector.lower().endswith(".onnx") else self.made.name

    def preparation(self, plan: FacePlan) -> Preparation:
        """Say what was done with the photos of each folder, to be kept beside the faces."""
        size, channels = self.shape[:2], self.shape[2]
        each = [
            PhotoSteps(align, size, channels, template, self.used, self.white)
            for align, template in zip(plan.methods, plan.templates, strict=True)
        ]
        return Preparation("faces", tuple(zip(self.names, each, strict=True)))


def detector_for(name: str, methods: Mapping[str, Align]) -> Detector | None:
    """Make the detector, if any folder may need one.

    Raises
    ------
    UsageError
        If a folder's faces are to be detected and nothing can do that, or there is no such detector.
    """
    if not {AUTO, "detect"} & set(methods.values()):
        return None
    made = make_detector(name)
    wanting = next((kind for kind, method in methods.items() if method == "detect"), None)
    if made is None and wanting is not None:
        why = "the detector is 'none'" if name == "none" else f"OpenCV is not installed: {INSTALL}"
        raise UsageError(f"faces cannot be detected in the photos of {wanting}, as {why}")
    return made


def drop_unused_landmarks(photos: Sequence[Photo], methods: Sequence[Align]) -> list[Photo]:
    """Drop the landmarks of photos for which they are not to be used."""
    return [
        photo if methods[photo.label] in (AUTO, "landmarks") else replace(photo, given=None)
        for photo in photos
    ]


def settle(options: FaceOptions, photos: Sequence[Photo], workers: int) -> tuple[FacePlan, list[str]]:
    """Choose method and template of each folder, with notes for the user.

    Under "auto", some photos of each folder are looked at. If most have landmarks, are crops of UTKFace or
    show a face that the detector finds, faces are cut out of all that do, and the others are left out; if
    not, the middle is cut out of each photo that has no landmarks.
    """
    of_kind = [[photo for photo in photos if photo.label == label] for label in range(len(options.names))]
    templates = [template_for(options.template, some) for some in of_kind]
    finds: list[Search | None] = []
    for method, some in zip(options.methods, of_kind, strict=True):
        wanted = method == "detect" or (method == AUTO and not (options.template == AUTO and _are_dogs(some)))
        finds.append(search(options.made) if wanted and options.made is not None else None)
    seen: dict[Path, Seen] = {}
    methods, notes = list(options.methods), []
    for label, method in enumerate(options.methods):
        if method == AUTO:
            known, looked = _known(options, of_kind[label], finds[label], workers, seen)
            if looked and 2 * known <= looked:
                methods[label] = "crop"
                notes.append(_cropped(options, label, known, looked))
    no_face = "" if options.made is None else f"shows no face that the detector {options.made.name} can find"
    plan = FacePlan(
        options.shape[:2],
        options.shape[2],
        tuple(methods),
        tuple(templates),
        tuple(finds),
        no_face,
        _no_landmarks(options),
        seen,
        options.white,
    )
    return plan, notes


def _known(
    options: FaceOptions,
    photos: Sequence[Photo],
    find: Search | None,
    workers: int,
    seen: dict[Path, Seen],
) -> tuple[int, int]:
    """Count photos with a known face among some that can be read; `seen` gets what is found."""

    def is_known(photo: Photo) -> bool | None:
        try:
            if photo.given is not None:
                return isinstance(photo.given, Landmarks)
            if is_utkface(photo.path, upright_size(photo.path)):
                return True
            if find is None:
                return False
            with opened_to_search(photo.path, options.shape[:2], options.white) as opened:
                seen[photo.path] = look(find, *opened)
            return bool(seen[photo.path].faces)
        except (ValueError, OSError, MemoryError):
            return None  # why it cannot be used is said when its turn comes

    known = looked = 0
    chosen = np.unique(np.linspace(0, len(photos) - 1, min(_LOOKED_AT, len(photos))).astype(int))
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(chosen), workers):
            some = [photos[index] for index in chosen[start : start + workers]]
            results = [result for result in pool.map(is_known, some) if result is not None]
            known, looked = known + sum(results), looked + len(results)
            if max(2 * known, 2 * (looked - known)) > len(chosen):
                break  # the rest cannot change it
    return known, looked


def _cropped(options: FaceOptions, label: int, known: int, looked: int) -> str:
    name = options.names[label]
    if options.made is None and options.detector == AUTO and not is_installed():
        return (
            f"{name}: no faces were looked for, because OpenCV is not installed ({INSTALL}); the middle of "
            "each photo was cut out instead"
        )
    if options.made is None:
        return f"{name}: no faces were looked for; the middle of each photo was cut out instead"
    found = f"a face was found in only {known} of" if known else "no face was found in"
    photos = "the only photo" if looked == 1 else f"{'' if known else 'the '}{looked} photos looked at"
    return (
        f"{name}: {found} {photos}, so the middle of each photo was cut out instead; --align {name}=detect "
        "keeps only photos in which a face is found"
    )


def template_for(given: str, photos: Sequence[Photo]) -> Template:
    """Return the template of a folder's photos, which their landmarks decide if "auto" is given."""
    if given == AUTO:
        return "dog" if _are_dogs(photos) else "person"
    return "dog" if given == "dog" else "person"


def _are_dogs(photos: Sequence[Photo]) -> bool:
    """Whether photos come with landmarks as dogs have them."""
    given = [photo.given for photo in photos if isinstance(photo.given, Landmarks)]
    if any(landmarks.source == "parts" for landmarks in given):
        return True
    return nearest_template(landmarks.points for landmarks in given) == "dog"


def _no_landmarks(options: FaceOptions) -> str:
    wanting = AUTO in options.methods and options.detector == AUTO and not is_installed()
    return "has no landmarks" + (f"; to find faces without them, {INSTALL}" if wanting else "")


def missed(options: FaceOptions, plan: FacePlan, lost: Sequence[int], found: Sequence[int]) -> Iterator[str]:
    """Note folders in which faces should have been detected and few were.

    Parameters
    ----------
    options, plan
        What was done.
    lost, found : sequence of int
        For each folder, photos in which the detector found no face, and those in which it did.
    """
    for label, name in enumerate(options.names):
        if plan.methods[label] in (AUTO, "detect") and lost[label] > found[label]:
            yield (
                f"{name}: a face was found in only {found[label]:,} of {lost[label] + found[label]:,} photos "
                f"and may be wrong there, as the detector knows people only; --align {name}=crop takes the "
                "middle of each photo"
            )
