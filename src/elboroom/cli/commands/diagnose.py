"""``elboroom diagnose``: why photos are rebuilt worse than those that a model has learned."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Folder, Images, ImageVerb, Json, Positional, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.evaluation.photo_advice import Quality
    from elboroom.evaluation.photo_diagnosis import PhotoDiagnosis

_WIDTH = 80
_SHOWN = {
    "error": "error",
    "shading": "  of shading",
    "detail": "  of detail",
    "brightness": "brightness",
    "contrast": "contrast",
    "saturation": "saturation",
    "fine detail": "fine detail",
    "code distance": "code distance",
    "gain by moving": "gain by moving",
}


@dataclass(frozen=True, kw_only=True)
class Diagnose(ImageVerb):
    """Say why photos are rebuilt worse than training photos, and what would help.

    Sets brightness, contrast, colours, sharpness, place and code of each photo beside those of training
    photos, matches one after the other, and writes each photo with all changes that help.
    """

    images: Positional[Images]
    seed: Annotated[Seed, Option(help="Random seed of the choice of training photos.")] = 0
    out: Folder = None
    json: Json = False

    def __call__(self) -> None:
        """Print what was found, and write a sheet and the changed photos.

        Raises
        ------
        UsageError
            If no photo is named, or the model is none of photos.
        """
        if not self.images:
            raise UsageError("no image given: name image files, or examples as SET:INDEX, such as mnist:7")
        from elboroom.cli.console import console
        from elboroom.cli.inputs.examples import distinct_stems, read_example
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import free_files, save_figure, save_image
        from elboroom.evaluation.photo_diagnosis import KnownPhotos
        from elboroom.figures.diagnosis import diagnosis_sheet
        from elboroom.figures.grids import to_uint8
        from elboroom.io.files import json_text
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae = load_model(run, self.device)
        photos = [
            read_example(name, vae, run, prepare=self.prepare, label=self.label) for name in self.images
        ]
        names, folder = distinct_stems(self.images), self.out or run.path / "figures"
        places = [*(folder / f"{name}-matched.png" for name in names), folder / "diagnose.png"]
        *each, sheet = free_files(places, named=self.out is not None, overwrite=self.overwrite)
        with console().status("looking at training photos"):
            known = KnownPhotos(vae, seen_data(run, vae), seed=self.seed)
        found = [known.diagnose(photo) for photo in photos]
        if self.json:
            record = {name: one.as_json() for name, one in zip(self.images, found, strict=True)}
            print(json_text({"training": known.count, "photos": record}), flush=True)
        for name, one, place in zip(self.images, found, each, strict=True):
            if not self.json:
                print("\n".join(_lines(name, one, known.count)), flush=True)
            matched = one.matched
            if matched is not None:
                save_image(to_uint8(matched.picture.astype("float32")), place)
        save_figure(diagnosis_sheet(found, [Path(name).name for name in self.images]), sheet)


def _lines(name: str, found: PhotoDiagnosis, count: int) -> list[str]:
    lines = [
        f"{name}, beside {count} training photos",
        f"  {'':<18}{'photo':>9}{'5 % to 95 % of them':>23}{'it is above':>14}",
    ]
    for key, shown in _SHOWN.items():
        if key in found.qualities:
            lines.append(_quality_line(shown, found.qualities[key]))
        if key == "error" and found.held_out is not None:
            lines.append(_quality_line("  among held-out", found.held_out))
    lines.append("  changed" + "error taken away".rjust(57))
    for change in found.changes.values():
        gain = f"{change.gain:.0%}".replace("-", "−").replace("%", " %").replace("−0 ", "0 ")
        first, *rest = textwrap.wrap(change.what, 46)
        lines.append(f"    {first:<48}{gain:>14}")
        lines += [f"      {more}" for more in rest]
    return [*lines, *textwrap.wrap(found.advice.text, _WIDTH, initial_indent="  ", subsequent_indent="  ")]


def _quality_line(shown: str, one: Quality) -> str:
    usual = f"{one.usual[0]:.3g} to {one.usual[1]:.3g}"
    return f"  {shown:<18}{one.value:>9.3g}{usual:>23}{one.percentile:>12.0f} %"
