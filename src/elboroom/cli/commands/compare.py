"""``compare``: recipes side by side on the same data, split and nets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import Positional, arg
from elboroom.config import Config
from elboroom.errors import FailureError, UsageError


@dataclass(frozen=True)
class Compare:
    """Compare recipes: train each with several seeds on the same data and networks, and tabulate the results.

    Example: 'elboroom compare digits --recipes vae,beta-vae,iwae --seeds 3 --epochs 20 --out cmp'. The same
    command goes on where it was stopped; more recipes or seeds are added. Options hold for all recipes.
    """

    source: Annotated[
        Positional[str | None],
        arg(
            metavar="DATA", help="A named data set (see 'elboroom data list'), a file, or a folder of images."
        ),
    ] = None
    recipes: Annotated[
        str,
        arg(
            metavar="NAME,NAME",
            help="Recipes separated by commas, each with options of its own if need be, as in "
            "vae,vae:beta=2; or all.",
        ),
    ] = ""
    seeds: Annotated[int, arg(help="Number of seeds for each recipe, counted from --seed.")] = 3
    nll_samples: Annotated[int, arg(help="Importance samples per example for the NLL.")] = 100
    out: Annotated[Path | None, arg(help="Folder for the comparison. Default: comparisons/DATA.")] = None
    preset: Annotated[str | None, arg(help="Configuration to start from: {PRESETS}.")] = None
    config: Annotated[
        Path | None,
        arg(help="TOML file to apply on top of preset and recipe. Options on the command line override it."),
    ] = None
    quiet: Annotated[bool, arg(help="Print results and errors only.")] = False
    settings: Config = field(default_factory=Config)

    def __call__(self, configs: Mapping[str, Config], refused: Mapping[str, str], *, leave_out: bool) -> None:
        """Run it with the settings of each recipe; refused ones are left out.

        Raises
        ------
        FailureError
            If a run failed, after all others are done.
        """
        from elboroom.cli.commands.common import console, full_name, line_width, read_data, shown
        from elboroom.comparison.comparing import compare_configs
        from elboroom.training import keep_freed_memory
        from elboroom.training.defaults import fitting_model

        keep_freed_memory()
        source = self.source if self.source is not None else self.settings.data.source
        if source is not None:
            configs = {name: one.updated(source=full_name(source)) for name, one in configs.items()}
        vectors = self.settings.model.condition_file
        if vectors is not None:
            configs = {name: one.updated(condition_file=full_name(vectors)) for name, one in configs.items()}
        data = read_data(next(iter(configs.values())))
        out = self.out or Path("comparisons") / (Path(data.name).stem or "data")
        say = console(quiet=self.quiet)
        say.print(data.describe())
        say.print(f"recipes: {len(configs)}, seeds of each: {self.seeds}, into {shown(out)}")
        with suppress(UsageError):  # what does not go together is explained recipe by recipe
            for choice in sorted({fitting_model(one, data)[1] for one in configs.values()} - {""}):
                say.print(choice)
        found = compare_configs(
            data, configs, refused, out, self.seeds, self.nll_samples, leave_out=leave_out, quiet=self.quiet
        )
        print(found.text(line_width()), flush=True)
        say.print(f"tables   {shown(out / 'table.md')}, table.csv, summary.csv")
        say.print(f"picture  {shown(out / 'table.png')}")
        if found.failed:
            runs = sum(row["status"] != "left out" for row in found.rows)
            raise FailureError(
                f"{len(found.failed)} of {runs} runs failed; the table says why, and the same command tries "
                "them again"
            )
