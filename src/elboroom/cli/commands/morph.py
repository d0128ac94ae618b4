"""``elboroom morph``: a path between codes of images, decoded to a GIF, a film, a strip or a sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from elboroom.cli.options import AtLeastTwo, ImageVerb, Positional, Prior, Refine, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.cli.inputs.endpoints import Endpoint, EndpointFinder
    from elboroom.figures import morphs

_FAR = 1e6  # farther from the prior, float32 cannot distinguish codes
_LONGEST = 65_535  # a GIF has 16 bits for hundredths of a second, and the endpoints stay ten times as long


@dataclass(frozen=True, kw_only=True)
class Morph(ImageVerb):
    """Morph between images, to a class or along an attribute, by a path through the latent space."""

    images: Annotated[
        Positional[tuple[str, ...]],
        Option(
            metavar="A [A ...] B",
            help="Images to start from, followed by the image to end at: image files (group.jpg:2 is the "
            "second largest face in a photo), SET:INDEX such as mnist:7, or a member of a class as "
            "LABEL:random, LABEL:nearest or LABEL:mean, such as dog:random.",
        ),
    ]
    path: Annotated[
        Literal["linear", "spherical", "dense", "data"],
        Option(
            help="Path through the latent space: straight, along a sphere, through dense regions of "
            "the prior, or close to codes of the data.",
            old=("walk",),
        ),
    ] = "linear"
    prior: Prior = "model"
    toward: Annotated[
        str | None,
        Option(
            metavar="LABEL",
            help="Move towards this label instead of to B. A .npy file with one number per example gives the "
            "direction in which those numbers grow.",
        ),
    ] = None
    away: Annotated[
        str | None,
        Option(
            metavar="LABEL", help="With --toward: move away from this label. Default: away from all others."
        ),
    ] = None
    strength: Annotated[
        float,
        Option(
            help="Distance to move: 1 is the difference between the labels' mean codes, or one "
            "standard deviation."
        ),
    ] = 1.0
    to_label: Annotated[
        str | None,
        Option(
            metavar="LABEL",
            help="Keep the code and change the condition to this label instead of going to B; for a "
            "conditional model.",
        ),
    ] = None
    refine: Refine = 0
    steps: Annotated[AtLeastTwo, Option(help="Number of pictures on the path, including both endpoints.")] = (
        25
    )
    seed: Annotated[Seed, Option(help="Random seed for LABEL:random.")] = 0
    out: Annotated[
        Path | None,
        Option(
            help="Output file: .gif, .mp4, or .png for a strip or a sheet. Default: RUN/figures/morph.gif."
        ),
    ] = None
    milliseconds: Annotated[
        int, Field(ge=1, le=_LONGEST), Option(help="Duration of each frame in milliseconds.")
    ] = 60

    def __call__(self) -> None:
        """Decode the paths and write them.

        Raises
        ------
        UsageError
            If options contradict each other, or an endpoint is missing.
        """
        self._check()
        from elboroom.cli.inputs.endpoints import EndpointFinder
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.prior import with_prior
        from elboroom.cli.outputs import output_file, save_figure
        from elboroom.figures import morphs
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae = load_model(run, self.device)
        if self.path == "dense":
            vae, _ = with_prior(run, vae, self.prior, draws=False)
            if getattr(vae.prior, "space", None) == "codes":
                raise UsageError(
                    "--path dense follows the slope of the prior, and one over entries of a codebook has "
                    "none; take --path linear, spherical or data"
                )
        default, allowed = run.path / "figures" / "morph.gif", (".gif", ".mp4", ".png")
        file = output_file(self.out, default, allowed, overwrite=self.overwrite)
        if file.suffix.lower() == ".mp4":
            morphs.find_ffmpeg(file)
        finder = EndpointFinder(run, vae, self.seed, self.refine, self.prepare, self.label)
        pairs = self._endpoints(finder)
        found = [finder.morph(start, end, self.path, self.steps) for start, end in pairs]
        if file.suffix.lower() != ".png":
            self._animate(finder, found, file)
        elif len(found) == 1 and not self.refine:
            title = f"From {pairs[0][0].name} to {pairs[0][1].name}: decoded codes on a {self.path} path"
            save_figure(morphs.strip(vae, found[0], title=f"{title}; originals are framed"), file)
        else:
            save_figure(morphs.sheet(vae, found), file)

    def _check(self) -> None:
        if self.toward is not None and self.to_label is not None:
            raise UsageError(f"--toward {self.toward} and --to-label {self.to_label}: give one of the two")
        if len(self.images) < (2 if self.toward is None and self.to_label is None else 1):
            missing = "B" if self.images else "A"
            raise UsageError(
                f"{missing} is missing; give two or more images, or one or more with --toward LABEL"
            )
        if self.toward is None and self.away is not None:
            raise UsageError(f"--away {self.away} needs --toward LABEL")
        if self.prior != "model" and self.path != "dense":
            raise UsageError(f"--prior {self.prior} is for --path dense; a {self.path} path needs no prior")
        if not abs(self.strength) <= _FAR:
            limits = f"a finite number from -{_FAR:g} to {_FAR:g}, such as 1.5"
            raise UsageError(f"--strength {self.strength}: must be {limits}")

    def _endpoints(self, finder: EndpointFinder) -> list[tuple[Endpoint, Endpoint]]:
        if self.to_label is not None:
            return finder.relabelled(self.images, self.to_label)
        if self.toward is not None:
            return finder.moved(self.images, self.toward, self.away, self.strength)
        return finder.pairs(self.images)

    def _animate(self, finder: EndpointFinder, found: list[morphs.Morph], file: Path) -> None:
        """Write a GIF or a film; and a sheet, if frames would not show what was encoded."""
        import torch

        from elboroom.cli.inputs.photos import is_changed
        from elboroom.cli.outputs import free_files, save_figure, wrote
        from elboroom.figures import morphs

        vae = finder.vae
        conditions = [one.condition for one in found if one.condition is not None]
        condition = torch.cat(conditions) if conditions else None
        frames = morphs.path_frames(vae, *(one.path for one in found), condition=condition)
        gif = file.suffix.lower() == ".gif"
        save, size = (morphs.save_gif, 256) if gif else (morphs.save_mp4, 512)
        save(frames, file, size=size if len(found) == 1 else 5 * size // 2, milliseconds=self.milliseconds)
        wrote(file)
        if any(is_changed(name, vae.shape, self.prepare) for name in self.images):
            sheet = file.with_name(f"{file.stem}-ends.png")
            (place,) = free_files([sheet], named=False, overwrite=self.overwrite)
            save_figure(morphs.sheet(vae, found), place)
