"""``elboroom figures``: the standard figures of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elboroom.cli.options import Folder, ImageVerb, OtherData, Prior
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class Figures(ImageVerb):
    """Draw the standard figures: loss curves, reconstructions, latent map, morph, samples and more."""

    data: OtherData = None
    only: Annotated[tuple[str, ...], Option(help="Draw only these figures: {FIGURES}.")] = ()
    mark: Annotated[
        tuple[str, ...], Option(metavar="IMAGE ...", help="Images to mark in the histogram of losses.")
    ] = ()
    prior: Prior = "model"
    out: Folder = None

    def __call__(self) -> None:
        """Draw them."""
        from elboroom.cli.inputs.examples import distinct_stems, read_example
        from elboroom.cli.inputs.model import load_model, named_condition
        from elboroom.cli.inputs.photos import is_changed
        from elboroom.cli.inputs.prior import with_prior
        from elboroom.cli.inputs.run_data import seen_data
        from elboroom.cli.outputs import free_files, save_seen, wrote
        from elboroom.figures.standard_set import draw_all
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae, prior = with_prior(run, load_model(run, self.device), self.prior)
        examples = [
            read_example(name, vae, run, prepare=self.prepare, label=self.label) for name in self.mark
        ]
        folder = self.out or run.path / "figures"
        for path in draw_all(
            vae,
            seen_data(run, vae, self.data),
            run.history,
            folder,
            marks=dict(zip(distinct_stems(self.mark), examples, strict=True)) or None,
            only=self.only or None,
            condition=named_condition(vae, self.label),
            prior=prior,
            place=lambda paths: free_files(paths, named=self.out is not None, overwrite=self.overwrite),
        ):
            wrote(path)
        drawn = not self.only or "friends" in self.only  # shows the marked images as well
        if not drawn and any(is_changed(name, vae.shape, self.prepare) for name in self.mark):
            (place,) = free_files([folder / "marked.png"], named=False, overwrite=self.overwrite)
            save_seen(vae, self.mark, examples, place)
