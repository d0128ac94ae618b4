"""``elboroom reproduce``: a published result trained and measured again."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from elboroom.cli.options import Count, Device, Json, Positional, Quiet, Seed, Verb
from elboroom.config.options import Option
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.reproduction import Entry
    from elboroom.reproduction.reproducing import Job

_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Reproduce(Verb):
    """Train and measure a published result again; without a name, list them with what has been done.

    Example: 'elboroom reproduce iwae-l1 --fast --rows vae-1'. The same command continues what was stopped.
    """

    name: Annotated[
        Positional[str | None], Option(metavar="NAME", help="Published result. Default: list all of them.")
    ] = None
    rows: Annotated[
        tuple[str, ...], Option(metavar="ROW ...", help="Figures of its table to run. Default: all, in turn.")
    ] = ()
    fast: Annotated[
        bool, Option(help="Take the setting NAME-fast, which trains for a tenth of the time.")
    ] = False
    features: Annotated[
        Path | None,
        Option(metavar="FILE", help="Weights of Inception, as .safetensors, for results that are an FID."),
    ] = None
    out: Annotated[Path, Option(help="Folder for runs and results.")] = Path("reproductions")
    epochs: Annotated[
        Count | None,
        Option(metavar="INT", help="Train for fewer epochs, to try it; the result is marked as shortened."),
    ] = None
    minutes: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        Option(metavar="NUMBER", help="Stop and save after this many minutes."),
    ] = None
    seed: Seed = 0
    device: Device = "auto"
    quiet: Quiet = False
    json: Json = False

    def __call__(self) -> None:
        """List the published results, or train and measure one.

        Raises
        ------
        UsageError
            If there is no such result, or it cannot be run.
        """
        from elboroom.reproduction import ENTRIES, find_entry

        if self.name is None:
            self._list()
            return
        name = self.name
        if self.fast and not name.endswith("-fast"):
            name = f"{name}-fast"
            if self.name in ENTRIES and name not in ENTRIES:
                fast = ", ".join(one.removesuffix("-fast") for one in ENTRIES if one.endswith("-fast"))
                raise UsageError(f"{self.name} has no fast setting; --fast exists for {fast}")
        self._run(find_entry(name, ENTRIES))

    def _jobs(self, entry: Entry, rows: tuple[str, ...] = ()) -> list[Job]:
        from elboroom.reproduction.reproducing import Job

        for row in rows:
            entry.row(row)
        more = {"epochs": self.epochs, "device": self.device}
        return [Job(entry, row, self.seed, self.out, **more) for row in rows or entry.rows]  # type: ignore[arg-type]

    def _run(self, entry: Entry) -> None:
        from elboroom.cli.console import console, shown
        from elboroom.cli.inputs.inception import read_inception
        from elboroom.io.files import json_text
        from elboroom.reproduction.reproducing import reproduce
        from elboroom.training.allocator import keep_freed_memory

        if entry.kind == "fid" and self.features is None:
            raise UsageError(
                f"{entry.name} is measured on features of Inception; --features FILE gives its weights"
            )
        net = None if self.features is None else read_inception(self.features)
        keep_freed_memory()
        say = console(quiet=self.quiet)
        started = time.monotonic()
        for job in self._jobs(entry, self.rows):
            spent = (time.monotonic() - started) / 60
            minutes = None if self.minutes is None else max(0.0, self.minutes - spent)
            say.print(f"{entry.name} {job.row}: {entry.row(job.row).title}, {entry.paper}")
            for departure in entry.departures:
                say.print(f"  {departure}")
            found = reproduce(job, features=net, minutes=minutes, quiet=self.quiet, say=say.print)
            if found is None:
                from elboroom.reproduction.reproducing import state_of

                say.print(
                    f"stopped after {self.minutes:g} minutes: {state_of(job)}; the same command continues"
                )
                return
            if self.json:
                print(json_text(found), flush=True)
            else:
                print("\n".join(_lines(found)), flush=True)
            say.print(f"result     {shown(job.record)}")

    def _list(self) -> None:
        from elboroom.io.files import json_text
        from elboroom.reproduction import ENTRIES
        from elboroom.reproduction.reproducing import state_of

        states = {
            name: {job.row: state_of(job) for job in self._jobs(entry)} for name, entry in ENTRIES.items()
        }
        if self.json:
            print(json_text(states), flush=True)
            return
        for name, entry in ENTRIES.items():
            where = f"arXiv:{entry.arxiv}" if entry.arxiv else entry.paper
            print(textwrap.fill(f"{name}: {entry.title} [{where}]", _WIDTH, subsequent_indent="  "))
            for row, state in states[name].items():
                one = entry.row(row)
                print(f"  {row:<11}{one.published:>7g}  {_time(one.hours):>9}  {state}")
        print("\nColumns: row, published figure, expected time on one core, state in --out.")
        print("'elboroom reproduce NAME --rows ROW' trains and measures one.")


def _time(hours: float) -> str:
    """Write an expected time, such as ``8 h`` or ``24 min``."""
    return f"{hours:.0f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _lines(found: dict[str, Any]) -> list[str]:
    ours, published = found["ours"], found["published"]
    error = "" if ours["error"] is None else f" ± {ours['error']:.3f}"
    verdict = "reached" if found["reached"] else "not reached"
    length = ", shortened" if found["shortened"] else ""
    how = f"{ours['estimator']}, {ours['examples']:,} examples"
    return [
        f"{found['name']} {found['row']}, seed {found['seed']}, {found['epochs']} epochs{length}",
        f"published  {published['value']:g} {published['unit']}",
        f"ours       {ours['value']:.3f}{error} {ours['unit']} ({how})",
        f"verdict    {verdict}: it counts as reached if it is worse by no more than {found['margin']:g}",
    ]
