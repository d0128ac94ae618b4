"""``elboroom neighbours``: images, samples or frames of a morph with their nearest training examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from elboroom.cli.options import Count, Images, ImageVerb, NotNegative, Positional, Prior, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.data import Dataset
    from elboroom.evaluation.neighbours import Neighbours as Found
    from elboroom.models.vae import VAE, Array
    from elboroom.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Neighbours(ImageVerb):
    """Show images, samples or frames of a morph with the training examples nearest to them."""

    images: Positional[Images] = ()
    samples: Annotated[NotNegative, Option(help="Also show this many samples from the model.")] = 0
    prior: Prior = "model"
    frames: Annotated[
        NotNegative, Option(help="Show this many frames of the morph between two images instead.")
    ] = 0
    n: Annotated[Count, Option(help="Number of neighbours to show for each.")] = 5
    space: Annotated[Literal["pixels", "codes"], Option(help="Space in which distances are measured.")] = (
        "pixels"
    )
    seed: Annotated[Seed, Option(help="Random seed for --samples and LABEL:random.")] = 0
    out: Annotated[Path | None, Option(help="Output file (.png). Default: RUN/figures/neighbours.png.")] = (
        None
    )

    def __call__(self) -> None:
        """Draw the sheet, and print the nearest example of each.

        Raises
        ------
        UsageError
            If nothing is named, or options contradict each other.
        """
        self._check()
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import output_file, save_figure
        from elboroom.evaluation.health import check_finite
        from elboroom.evaluation.neighbours import nearest
        from elboroom.figures.by_class import neighbour_sheet
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae = load_model(run, self.device)
        default = run.path / "figures" / "neighbours.png"
        file = output_file(self.out, default, (".png",), overwrite=self.overwrite)
        data = seen_data(run, vae)
        queries, names = self._frames(run, vae) if self.frames else self._examples(run, vae)
        found = nearest(data, queries, self.n, self.space, vae=vae)
        check_finite({"distances": found.distances}, str(run.path))
        save_figure(neighbour_sheet(data, queries, names, found, vae=vae), file)
        self._print(names, found, data, vae)

    def _check(self) -> None:
        if self.frames and (self.samples or len(self.images) != 2):
            got = f"{len(self.images)} image{'' if len(self.images) == 1 else 's'}, --samples {self.samples}"
            raise UsageError(f"--frames {self.frames} takes two images and no --samples; got {got}")
        if self.prior != "model" and not self.samples:
            raise UsageError(f"--prior {self.prior} is for samples; give --samples 8, or leave it out")
        if self.frames == 1:
            raise UsageError("--frames 1: must be at least 2")
        if not self.images and not self.samples:
            raise UsageError("no images given: name some, or give --samples 8")

    def _frames(self, run: Run, vae: VAE) -> tuple[Array, list[str]]:
        """Decode the morph between two images."""
        from elboroom.cli.inputs.endpoints import EndpointFinder
        from elboroom.latent.arrays import numbers
        from elboroom.models.conditioning import Examples

        finder = EndpointFinder(run, vae, self.seed, prepare=self.prepare, label=self.label)
        ((start, end),) = finder.pairs(self.images)
        morph = finder.morph(start, end, "linear", self.frames)
        decoded = numbers(vae.decode(morph.path, morph.condition).mean)
        names = [f"Frame {i + 1}" for i in range(self.frames)]
        return decoded if morph.condition is None else Examples(decoded, numbers(morph.condition)), names

    def _examples(self, run: Run, vae: VAE) -> tuple[Array, list[str]]:
        """Read the named images and draw samples."""
        from elboroom.cli.inputs.examples import read_example
        from elboroom.cli.inputs.model import conditioned, named_condition
        from elboroom.cli.inputs.prior import with_prior
        from elboroom.latent.arrays import numbers, seeded
        from elboroom.models.conditioning import Examples, together

        condition = named_condition(vae, self.label)
        examples = [
            read_example(name, vae, run, prepare=self.prepare, label=self.label) for name in self.images
        ]
        if self.samples:
            given = conditioned(with_prior(run, vae, self.prior)[0], self.label)
            with seeded(given, self.seed):
                # Means of a table lie amid the rows, nearer to one than rows do: none is drawn as it is.
                drawn = numbers(given.sample(self.samples, observe=given.accepts_missing))
            examples += [x if condition is None else Examples(x, condition) for x in drawn]
        names = [
            *(Path(name).name for name in self.images),
            *(f"Sample {i + 1}" for i in range(self.samples)),
        ]
        return together(examples), names

    def _print(self, names: list[str], found: Found, data: Dataset, vae: VAE) -> None:
        from elboroom.cli.console import print_result
        from elboroom.cli.inputs.row_names import place_of, rows_moved
        from elboroom.latent.arrays import standardizes

        what = "image" if data.is_image else "example"
        for name, rows, distances, usual, copied in zip(names, *found, found.copies(data), strict=True):
            print_result(
                f"{name}: nearest training {what} is #{place_of(data, int(rows[0]))} at distance "
                f"{distances[0]:.3g} (typical there: {usual:.3g})"
                + ((": the same." if data.columns else ": a copy or nearly one.") if copied else ".")
            )
        unit = "Euclidean, between codes"
        if self.space == "pixels":
            unit = f"root mean square differences per {'pixel' if data.is_image else 'number'}"
            unit += ", standardised" if standardizes(vae) else ""
            unit += "; a missing cell counts as the mean of its column" if vae.accepts_missing else ""
        what = "row" if rows_moved(data) else "example"
        print_result(f"#N is {what} N of {data.name}, counted from 0. Distances are {unit}.")
