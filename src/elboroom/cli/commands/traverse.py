"""``elboroom traverse``: one latent dimension changed at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import AtLeastTwo, ImageVerb
from elboroom.config.options import Option
from elboroom.errors import UsageError

_WIDEST = 1e6  # farther from the prior, float32 cannot distinguish codes


@dataclass(frozen=True, kw_only=True)
class Traverse(ImageVerb):
    """Decode codes that differ in one latent dimension at a time."""

    at: Annotated[
        str | None,
        Option(
            metavar="IMAGE", help="Image file or SET:INDEX to start from, instead of the centre of the prior."
        ),
    ] = None
    dims: Annotated[
        tuple[int, ...], Option(help="Latent dimensions, counted from 0. Default: the most active ones.")
    ] = ()
    layer: Annotated[
        int | None,
        Option(
            metavar="INT",
            help="With several stochastic layers: traverse the most active dimensions of this layer; "
            "1 is the top.",
        ),
    ] = None
    steps: Annotated[AtLeastTwo, Option(help="Pictures per row.")] = 11
    span: Annotated[
        float,
        Option(help="Range of the traversal: from -span to span, in standard deviations of the prior."),
    ] = 3.0
    out: Annotated[Path | None, Option(help="Output file (.png). Default: RUN/figures/traversals.png.")] = (
        None
    )

    def __call__(self) -> None:
        """Draw a row of decoded codes for each dimension, around the prior's centre or an example's code.

        Raises
        ------
        UsageError
            If the model has no such dimension, or the span is out of range.
        """
        if not 0 < self.span <= _WIDEST:
            raise UsageError(f"--span {self.span}: must be above 0 and at most {_WIDEST:g}")
        from elboroom.cli.inputs.examples import read_example
        from elboroom.cli.inputs.model import conditioned, load_model
        from elboroom.cli.inputs.photos import is_changed
        from elboroom.cli.outputs import free_files, output_file, save_figure, save_seen
        from elboroom.figures.columns import traversed_columns
        from elboroom.figures.images import traversals
        from elboroom.figures.traversals import by_channel
        from elboroom.models.conditioning import apart
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae = load_model(run, self.device)
        if wrong := [dim for dim in self.dims if not 0 <= dim < vae.latent_dim]:
            raise UsageError(f"--dims {wrong[0]}: the model has latent dimensions 0 to {vae.latent_dim - 1}")
        default = run.path / "figures" / "traversals.png"
        file = output_file(self.out, default, (".png",), overwrite=self.overwrite)
        x, centre = None, "the centre of the prior"
        if self.at is None:
            vae = conditioned(vae, self.label)
        else:
            example = read_example(self.at, vae, run, prepare=self.prepare, label=self.label)
            if is_changed(self.at, vae.shape, self.prepare):
                seen = file.with_name(f"{file.stem}-at.png")
                (place,) = free_files([seen], named=False, overwrite=self.overwrite)
                save_seen(vae, [self.at], [example], place)
            x, condition = apart(example[None])
            vae, centre = (
                vae if condition is None else vae.given(condition),
                f"the code of {Path(self.at).name}",
            )
        varied = "channel at all places" if by_channel(vae, self.dims) else "latent dimension"
        title = f"One {varied} at a time, around {centre}"
        title += "" if self.label is None else f", given {self.label}"
        if getattr(vae.likelihood, "columns", ()):
            shown = traversed_columns(vae, x, self.dims or None, self.span, max(self.steps, 2), title)
            save_figure(shown, file)
            return
        figure = traversals(
            vae, x, steps=self.steps, dims=self.dims or None, span=self.span, layer=self.layer, title=title
        )
        save_figure(figure, file)
