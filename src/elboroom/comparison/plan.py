"""The plan of a comparison, kept in its folder, from which the same command resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from elboroom.comparison.variants import own_fields, split_variant
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.io.files import is_trace, json_text, read_json, write_atomic
from elboroom.objectives.recipes import RECIPES

FORMAT = 1
FILE = "comparison.json"
# Fields that do not affect the results that are compared.
_FREE = {"seed", "source", "device", "strict", "figures_every", "keep_checkpoints", "shard_optimizer"}
_FREE |= {"track"}

T = TypeVar("T")


def names_of(recipes: str | Sequence[str]) -> list[str]:
    """Check the names of recipes and their variants, which may be one text with commas, or "all".

    Raises
    ------
    UsageError
        If there is none, or one is unknown; the nearest is offered.

    Examples
    --------
    >>> names_of("vae, iwae"), names_of(["vae", "vae"])
    (['vae', 'iwae'], ['vae'])
    """
    given = recipes.split(",") if isinstance(recipes, str) else recipes
    names = list(dict.fromkeys(name.strip() for name in given if name.strip()))
    if names == ["all"]:
        return list(RECIPES)
    if not names:
        raise UsageError("no recipes given; name some, such as vae,beta-vae,iwae, or all")
    for name in names:
        split_variant(name)
    return names


def wants_all(recipes: str | Sequence[str]) -> bool:
    """Whether all recipes that fit are meant, instead of named ones.

    Examples
    --------
    >>> wants_all("all"), wants_all(["vae", "all"])
    (True, False)
    """
    return recipes == "all" or list(recipes) == ["all"]


def sift(
    names: Sequence[str], attempt: Callable[[str], T], *, leave_out: bool
) -> tuple[dict[str, T], dict[str, str]]:
    """Try something with each recipe, before anything is trained.

    Parameters
    ----------
    names : sequence of str
        Of recipes.
    attempt : callable
        Raises :class:`UsageError` for one that cannot be.
    leave_out : bool
        Go on without those that cannot be, as "all" does, as long as there are others.

    Returns
    -------
    found, refused : dict
        What ``attempt`` returned, and the reasons of the others.

    Raises
    ------
    UsageError
        If one cannot be; what holds for all of them is said without a name.
    """
    found, refused = {}, {}
    for name in names:
        try:
            found[name] = attempt(name)
        except UsageError as error:
            refused[name] = str(error)
    if refused and not found and len(set(refused.values())) == 1:
        raise UsageError(next(iter(refused.values())))
    if refused and not (leave_out and found):
        first, *others = refused
        more = f" (also refused: {', '.join(others)})" if others else ""
        raise UsageError(f"recipe {first} is refused: {refused[first]}{more}; or leave it out of the recipes")
    return found, refused


@dataclass(frozen=True)
class Plan:
    """The settings that all runs in a folder share.

    Attributes
    ----------
    data, fingerprint : str
        Name of the data, and the digest of contents and split with the scale.
    nll_samples : int
        Importance samples of each example for the NLL.
    configs : dict of str to Config
        Of each recipe; seeds differ from run to run.
    """

    data: str
    fingerprint: str
    nll_samples: int
    configs: dict[str, Config]

    @classmethod
    def of(cls, data: Dataset, configs: Mapping[str, Config], nll_samples: int) -> Plan:
        """Make the plan of a comparison on data that have been split."""
        labels = any(config.model.learns_labels for config in configs.values())
        known = f"{data.fingerprint(labels=labels)}/{data.scale:g}"
        return cls(data.name, known, nll_samples, dict(configs))

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """Read the plan of a folder; None if the folder is new or empty.

        Raises
        ------
        UsageError
            If it holds something else, or the plan is damaged or of a newer format.
        """
        path = folder / FILE
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file; out= takes a folder")
        if not path.exists():
            if folder.exists() and not all(is_trace(child.name) for child in folder.iterdir()):
                raise UsageError(
                    f"{folder} contains files but no comparison; give an empty or a new folder as out="
                )
            return None
        try:
            content = read_json(path, "bring it back, or give another out=")
            if content["format"] > FORMAT:
                raise UsageError(
                    f"{path} is of format {content['format']}, and {FORMAT} is read: upgrade elboroom"
                )
            configs = {name: Config().merged(one) for name, one in content["recipes"].items()}
            return cls(content["data"], content["fingerprint"], content["nll_samples"], configs)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{path} is damaged ({error}); bring it back, or give another out=") from None

    def write(self, folder: Path) -> None:
        """Write the plan to a folder."""
        content = {
            "format": FORMAT,
            "data": self.data,
            "fingerprint": self.fingerprint,
            "nll_samples": self.nll_samples,
            "recipes": {name: _dump(one) for name, one in self.configs.items()},
        }
        write_atomic(folder / FILE, json_text(content, indent=2) + "\n")

    def extended(self, new: Plan, folder: Path) -> Plan:
        """Add recipes to the plan of a folder.

        Raises
        ------
        UsageError
            If something that both have in common differs; the message names it.
        """
        if new.fingerprint != self.fingerprint:
            if new.data != self.data:
                raise _changed("data", new.data, self.data, folder)
            raise UsageError(
                f"{new.data} is not the data that {folder} was started with: its contents or split "
                "differ; restore the old data, or give another out="
            )
        if new.nll_samples != self.nll_samples:
            raise _changed("nll_samples", new.nll_samples, self.nll_samples, folder)
        for name, config in new.configs.items():
            for old, before in self.configs.items():
                # What a recipe sets is its own; all else is the same for all.
                own = set() if name == old else own_fields(name) | own_fields(old)
                _check_equal(config, before, own | _FREE, folder)
        return Plan(self.data, self.fingerprint, self.nll_samples, {**self.configs, **new.configs})


def _check_equal(config: Config, before: Config, free: set[str], folder: Path) -> None:
    for section in Config.model_fields:
        now, then = getattr(config, section), getattr(before, section)
        for field in type(now).model_fields:
            if field not in free and getattr(now, field) != getattr(then, field):
                raise _changed(field, getattr(now, field), getattr(then, field), folder)


def _changed(field: str, now: Any, before: Any, folder: Path) -> UsageError:
    return UsageError(
        f"{field} = {now!r}, but {folder} was started with {before!r}; only recipes and seeds can be added: "
        "repeat the earlier value, or give another out="
    )


def _dump(config: Config) -> dict[str, Any]:
    dumped = config.model_dump(mode="json")
    del dumped["training"]["seed"]
    return dumped
