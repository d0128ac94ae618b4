"""``elboroom sample``: decoded draws from the prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import Count, PictureVerb, Prior, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError, counted

if TYPE_CHECKING:
    from elboroom.latent.arrays import Numbers
    from elboroom.models.vae import VAE


@dataclass(frozen=True, kw_only=True)
class Sample(PictureVerb):
    """Sample from the prior and decode. A model conditional on labels gives one row per label."""

    n: Annotated[Count, Option(help="Number of samples.")] = 64
    out: Annotated[
        Path | None,
        Option(
            help="Output file: .png for pictures, .npy for an array, or .csv, .tsv or .parquet for a table "
            "with the training table's columns. Default: RUN/samples/samples.png."
        ),
    ] = None
    observe: Annotated[
        bool,
        Option(
            help="Sample from the likelihood as well, instead of showing its mean. Rows of a mixed table are "
            "always sampled from it."
        ),
    ] = False
    given: Annotated[
        str | None,
        Option(
            metavar="CONDITION",
            help="Sample rows of a table on condition, such as 'job=cook|nurse, age>40'. Default of --out: "
            "RUN/samples/given.csv.",
        ),
    ] = None
    prior: Prior = "model"
    privacy: Annotated[
        bool,
        Option(help="Compare the distances of sampled rows to training rows with those of held-out rows."),
    ] = False
    seed: Seed = 0

    def __call__(self) -> None:
        """Write a sheet of pictures, with .npy an array or with .csv a table.

        Without a label, a model that is conditional on labels gets equally many samples of each label.
        """
        from elboroom.cli.console import console
        from elboroom.cli.inputs.model import conditioned, load_model
        from elboroom.cli.inputs.prior import with_prior
        from elboroom.cli.outputs import output_file, save_figure
        from elboroom.data.table_write import WRITTEN
        from elboroom.figures.images import samples
        from elboroom.latent.arrays import numbers, seeded
        from elboroom.runs.run import Run

        run = Run(self.run)
        vae, drawn_from = with_prior(run, load_model(run, self.device), self.prior)
        rows_only = self.given is not None or self.privacy
        default = run.path / "samples" / ("samples.png" if self.given is None else "given.csv")
        if self.privacy and self.given is None:
            default = default.with_suffix(".csv")
        endings = (".npy", *WRITTEN) if rows_only else (".png", ".npy", *WRITTEN)
        file = output_file(self.out, default, endings, overwrite=self.overwrite)
        if file.suffix.lower() in WRITTEN and len(vae.shape) != 1:
            raise UsageError(
                f"--out {file}: this model's examples have the shape {vae.shape}, and a table contains "
                f"rows of "
                "numbers; give a .npy or .png"
            )
        if self.label is None and vae.condition is not None and vae.condition.kind == "labels":
            self._each_label(vae, file)
            return
        vae = conditioned(vae, self.label)
        if file.suffix.lower() == ".png" and not self.observe:
            title = f"Samples: decoded draws from the {drawn_from}"
            title += "" if self.label is None else f", given {self.label}"
            save_figure(samples(vae, n=self.n, seed=self.seed, title=title), file)
            return
        with seeded(vae, self.seed):
            if self.given is None:
                drawn = numbers(vae.sample(self.n, observe=self.observe or vae.accepts_missing))
            else:
                drawn = self._given(vae, self.given)
        privacy = self._nearest(vae, drawn) if self.privacy else []
        self._save(vae, drawn, file)
        for line in privacy:
            console().print(line)

    def _given(self, vae: VAE, condition: str) -> Numbers:
        """Draw rows on condition, and say how likely the condition is."""
        from elboroom.cli.console import console
        from elboroom.latent.arrays import numbers
        from elboroom.tables.given import sample_given

        found = sample_given(vae, condition, self.n)
        console().print(found.describe())
        return numbers(found.x)

    def _nearest(self, vae: VAE, drawn: Numbers) -> list[str]:
        """How near the samples are to rows that the model was trained on."""
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.runs.run import Run
        from elboroom.tables.privacy import nearest_records

        if vae.config is None or not vae.config.columns:
            raise UsageError("--privacy compares rows of tables, and this run was not trained on one")
        data = run_data(Run(self.run))
        held_out = data.indices("test") if len(data.indices("test")) else data.indices("validation")
        training, unseen = (data.values(rows) for rows in (data.indices("train"), held_out))
        return nearest_records(drawn, training, unseen, vae.config.columns, self.seed).describe()

    def _each_label(self, vae: VAE, file: Path) -> None:
        """Draw at least n samples in all, a row for each label."""
        import numpy as np

        from elboroom.cli.outputs import save_figure
        from elboroom.figures import conditional, grids
        from elboroom.latent.arrays import numbers, seeded

        assert vae.condition is not None
        labels = vae.condition.labels
        each = -(-self.n // len(labels))
        if file.suffix.lower() == ".png" and not self.observe:
            names = [vae.condition.name_of(place) for place in range(len(labels))]
            grid = conditional.conditional_grid(vae, labels.tolist(), names, each, self.seed)
            save_figure(grids.stack(grid, title=grids.titled(vae, conditional.GIVEN_EACH)), file)
            return
        with seeded(vae, self.seed):
            observe = self.observe or vae.accepts_missing
            drawn = vae.sample(each * len(labels), condition=np.repeat(labels, each), observe=observe)
        names = [vae.condition.name_of(place) for place in np.repeat(np.arange(len(labels)), each).tolist()]
        self._save(vae, numbers(drawn), file, columns=each, labels=names)

    def _save(
        self,
        vae: VAE,
        drawn: Numbers,
        file: Path,
        columns: int | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Write samples as an array, as a table, or as pictures side by side without margins."""
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.model import described
        from elboroom.cli.outputs import save_array, save_image, wrote
        from elboroom.data.table_text import table_columns
        from elboroom.data.table_write import WRITTEN, write_table
        from elboroom.figures.grids import images_of, tile, to_uint8
        from elboroom.runs.run import Run

        if file.suffix.lower() == ".npy":
            save_array(drawn, file)
            wrote(file)
            return
        if file.suffix.lower() in WRITTEN:
            model, source = vae.config, Run(self.run).config.data.source
            known = () if model is None else model.columns
            headings = known or table_columns(source, vae.shape[0])
            write_table(file, headings, drawn, {} if labels is None else {"label": labels})
            console().print(f"wrote {shown(file)}: {counted(len(drawn), 'row')}")
            return
        if len(vae.shape) != 3:
            raise UsageError(f"--observe needs images, and this model's examples are {described(vae.shape)}")
        square = math.ceil(math.sqrt(len(drawn)))
        save_image(to_uint8(tile(images_of(vae, drawn), columns or square)), file)
