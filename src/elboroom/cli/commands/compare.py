"""``elboroom compare``: recipes trained on the same data, split and networks."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from elboroom.cli.options import Count, TrainingVerb
from elboroom.cli.parser import parse
from elboroom.cli.starting_point import starting_point
from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.errors import FailureError, UsageError


@dataclass(frozen=True, kw_only=True)
class Compare(TrainingVerb):
    """Compare recipes: train each with several seeds on the same data and networks, and tabulate the results.

    Example: 'elboroom compare digits --recipes vae,beta-vae,iwae --seeds 3 --epochs 20 --out cmp'. The same
    command resumes a stopped comparison, and adds recipes or seeds. Options apply to all recipes.
    """

    common = (
        *("--recipes", "--seeds", "--nll-samples", "--out", "--preset", "--quiet"),
        *TrainingVerb.usual,
    )

    recipes: Annotated[
        str,
        Option(
            metavar="NAME,NAME",
            help="Recipes separated by commas, each with its own options if needed, as in "
            "vae,vae:beta=2; or all.",
        ),
    ] = ""
    seeds: Annotated[Count, Option(help="Number of seeds for each recipe, counted from --seed.")] = 3
    nll_samples: Annotated[Count, Option(help="Importance samples per example for the NLL.")] = 100
    out: Annotated[Path | None, Option(help="Folder for the comparison. Default: comparisons/DATA.")] = None

    @classmethod
    def read(cls, argv: Sequence[str], prog: str) -> Callable[[], None]:
        """Read the command line once for each recipe, as 'train' would, before anything is trained.

        Raises
        ------
        UsageError
            If no recipe is named, or the command line is invalid.
        """
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--recipes")
        given = None
        with contextlib.suppress(argparse.ArgumentError):  # the full parser reports a missing value
            given = early.parse_known_args(argv)[0].recipes
        if given is None:
            parse(cls, argv, prog=prog)  # reports other errors first
            raise UsageError("no recipes given; add --recipes vae,beta-vae,iwae, or --recipes all")
        from elboroom.comparison.plan import names_of, sift, wants_all
        from elboroom.comparison.variants import split_variant

        def read_recipe(name: str) -> Compare:
            recipe, own = split_variant(name)
            # A variant's own options apply before the others, which may only be valid with them, and again
            # after them, as they take precedence.
            start = cls(settings=starting_point(argv, recipe, own))
            found = parse(cls, argv, prog=prog, start=start)
            return replace(found, settings=found.settings.updated(**own))

        leave_out = wants_all(given)
        found, refused = sift(names_of(given), read_recipe, leave_out=leave_out)
        command = next(iter(found.values()))
        configs = {name: one.settings for name, one in found.items()}
        return partial(command.compare, configs, refused, leave_out=leave_out)

    def compare(self, configs: Mapping[str, Config], refused: Mapping[str, str], *, leave_out: bool) -> None:
        """Compare the configurations of the recipes; refused recipes are listed as left out.

        Raises
        ------
        FailureError
            If a run failed, after all others are done.
        """
        from elboroom.cli.console import console, line_width, shown
        from elboroom.cli.inputs.run_data import read_data
        from elboroom.comparison.comparing import compare_configs
        from elboroom.data import full_name
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
        say.print(f"recipes: {len(configs)}, seeds for each: {self.seeds}, folder: {shown(out)}")
        with contextlib.suppress(UsageError):  # conflicts are reported for each recipe
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
                f"{len(found.failed)} of {runs} runs failed; the table gives the reasons, and the same "
                "command tries them again"
            )
