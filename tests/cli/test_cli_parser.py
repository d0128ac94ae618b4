"""The command line is read as the verbs' signatures say, and its help tells all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from elboroom.cli.help import help_text
from elboroom.cli.options import Positional, arg
from elboroom.cli.parser import arguments, in_options, option_names, parse
from elboroom.cli.verbs import COMMON, VERBS
from elboroom.config import Config
from elboroom.errors import UsageError


def verb(
    run: Positional[Annotated[str, arg(metavar="RUN", help="A folder.")]],
    images: Annotated[Positional[tuple[str, ...]], arg(metavar="IMAGE ...")] = (),
    steps: Annotated[int, arg(help="How many.")] = 25,
    span: float = 3.0,
    dims: tuple[int, ...] = (),
    size: tuple[int, int] | None = None,
    out: Path | None = None,
    kind: Literal["linear", "dense"] = "linear",
    channels: Literal[1, 3] | None = None,
    quiet: bool = False,
    align: bool = True,
) -> dict[str, Any]:
    """Do something.

    In a second paragraph, more of it.
    """
    return dict(locals())


def read(*argv: str) -> dict[str, Any]:
    found: dict[str, Any] = parse(verb, argv, prog="elboroom verb")
    return found


def test_what_is_not_given_is_the_default() -> None:
    assert read("r") == {
        **{"run": "r", "images": (), "steps": 25, "span": 3.0, "dims": (), "size": None, "out": None},
        **{"kind": "linear", "channels": None, "quiet": False, "align": True},
    }


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (("r", "--steps", "3"), "steps", 3),
        (("r", "--steps=3"), "steps", 3),
        (("r", "--span", "-1e-3"), "span", -1e-3),
        (("r", "--span", "-inf"), "span", float("-inf")),
        (("r", "--dims", "3", "1"), "dims", (3, 1)),
        (("r", "--dims"), "dims", ()),
        (("r", "--size", "3", "1"), "size", (3, 1)),
        (("r", "--out", "a b/c"), "out", Path("a b/c")),
        (("r", "--out", "--", "x"), "out", None),
        (("r", "--kind", "dense"), "kind", "dense"),
        (("r", "--channels", "3"), "channels", 3),
        (("r", "--quiet"), "quiet", True),
        (("r", "--no-align"), "align", False),
        (("r", "--quiet", "--no-quiet"), "quiet", False),
        (("r", "a.png", "b.png"), "images", ("a.png", "b.png")),
        (("--steps", "3", "r"), "run", "r"),
        (("r", "--steps", "3", "--steps", "4"), "steps", 4),
    ],
)
def test_values(argv: tuple[str, ...], name: str, value: object) -> None:
    if "--" in argv:
        with pytest.raises(UsageError, match="--out needs a value"):
            read(*argv)
    else:
        assert read(*argv)[name] == value


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "RUN is missing; see 'elboroom verb --help'"),
        (("r", "--stepz", "3"), "unknown option --stepz; did you mean --steps"),
        (("r", "--step", "3"), "unknown option --step; did you mean --steps"),  # nothing is abbreviated
        (("r", "--xyzzy"), "unknown option --xyzzy; see"),
        (("r", "-x"), "unknown option -x; see"),
        (("r", "--steps"), r"--steps needs a value \(INT\)"),
        (("r", "--steps", "x"), "--steps x: must be a whole number"),
        (("r", "--steps", ""), "--steps : must be a whole number"),
        (("r", "--steps", "2.5"), "--steps 2.5: must be a whole number"),
        (("r", "--span", "one"), "--span one: must be a number"),
        (
            ("r", "--dims", "1", "x"),
            "--dims x: must be a whole number; if 'x' is no value of --dims, give it",
        ),
        (("--dims", "1", "2"), "RUN is missing; give it before --dims, which takes all words that follow"),
        (("r", "--kind", "lineer"), "--kind lineer: did you mean 'linear'"),
        (("r", "--channels", "2"), "--channels 2: "),
        (("r", "--quiet=yes"), "--quiet takes no value"),
    ],
)
def test_errors(argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        read(*argv)
    assert "\n" not in str(error.value)


def test_one_too_many() -> None:
    def single(name: Positional[str | None] = None) -> None:
        """Take one."""

    with pytest.raises(UsageError, match="'b' is one argument too many"):
        parse(single, ["a", "b"], prog="elboroom single")


@dataclass(frozen=True)
class WithSettings:
    """Take all options of all sections."""

    out: Path | None = None
    settings: Config = field(default_factory=Config)


def test_options_of_the_configuration_reach_their_section() -> None:
    line = "--latent-dim 5 --hidden 30 20 --data.size 9 --penalties dip=1 --lr-schedule-options T_max=3"
    line = line.replace("--penalties dip=1 ", "")
    found = parse(WithSettings, line.split(), prog="elboroom train").settings
    assert (found.model.latent_dim, found.model.hidden, found.data.size) == (5, (30, 20), 9)
    assert found.optimizer.lr_schedule_options == {"T_max": 3}
    assert found.training == Config().training


def test_values_of_the_default_hold_where_nothing_is_given() -> None:
    start = WithSettings(settings=Config().updated(latent_dim=7, epochs=3))
    found = parse(WithSettings, ["--epochs", "4"], prog="elboroom train", default=start).settings
    assert (found.model.latent_dim, found.training.epochs) == (7, 4)


def test_a_value_out_of_range_is_named_by_its_option() -> None:
    for line, words in [
        ("--epochs 0", "--epochs 0: must be at least 1"),
        ("--data.size 0", "--data.size 0: must be at least 1"),
        ("--lr nan", "--lr nan: must be a finite number"),
        ("--optimizer-options x", "--optimizer-options x: must be 'key=value"),
    ]:
        with pytest.raises(UsageError, match=words):
            parse(WithSettings, line.split(), prog="elboroom train")


def test_every_field_has_one_option_unless_it_is_hidden() -> None:
    flags = [one.flag for one in arguments(VERBS["train"])]
    assert len(set(flags)) == len(flags)
    assert option_names()["latent_dim"] == "--latent-dim"
    assert option_names()["size"] == "--data.size"
    assert "shape" not in option_names()


def test_messages_of_the_library_speak_of_options() -> None:
    assert in_options("lr = 1e-3 is high; take beta=0.5") == "--lr 1e-3 is high; take --beta 0.5"
    for same in ("x = 3 is no field", "a.toml says latent_dim", "--beta=3", "'lr = 3'"):
        assert in_options(same) == same


@pytest.mark.parametrize("name", VERBS)
def test_the_help_names_every_option_within_80_columns(name: str) -> None:
    text = help_text(VERBS[name], f"elboroom {name}", common=COMMON.get(name, ()), everything=True, width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    for one in arguments(VERBS[name]):
        assert one.flag in text or one.flag.replace("--", "--no-", 1) in text
        assert one.option.help, f"{one.flag} of {name} has no help"
    assert "None" not in text


@pytest.mark.parametrize("name", COMMON)
def test_the_short_help_shows_what_people_use(name: str) -> None:
    flags = {one.flag for one in arguments(VERBS[name])}
    assert set(COMMON[name]) <= flags
    text = help_text(VERBS[name], f"elboroom {name}", common=COMMON[name], width=80)
    assert all(flag in text for flag in COMMON[name])
    assert "--conv-blocks" not in text
    assert "--help-all" in text
