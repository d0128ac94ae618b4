"""The command line is read as the verbs' signatures say, and its help tells all of it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from elboroom.cli.arguments import Argument, arguments, option_names
from elboroom.cli.help import help_text
from elboroom.cli.options import Positional, Verb
from elboroom.cli.parser import in_options, parse
from elboroom.cli.verbs import VERBS
from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Example(Verb):
    """Do something.

    In a second paragraph, more of it.
    """

    run: Positional[Annotated[str, Option(metavar="RUN", help="A folder.")]]
    images: Annotated[Positional[tuple[str, ...]], Option(metavar="IMAGE ...")] = ()
    steps: Annotated[int, Option(help="How many.", old=("count", "number_of"))] = 25
    span: float = 3.0
    dims: tuple[int, ...] = ()
    size: tuple[int, int] | None = None
    out: Path | None = None
    kind: Literal["linear", "dense"] = "linear"
    channels: Literal[1, 3] | None = None
    quiet: Annotated[bool, Option(old=("silent",))] = False
    align: bool = True


def read(*argv: str) -> dict[str, Any]:
    return asdict(parse(Example, argv, prog="elboroom verb"))


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
            "--dims x: must be a whole number; if 'x' is not meant for --dims, put it",
        ),
        (("--dims", "1", "2"), "RUN is missing; put it before --dims, which takes all words that follow"),
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
    with pytest.raises(UsageError, match="too many arguments: 'b'; see"):
        parse(VERBS["recipes"], ["a", "b"], prog="elboroom recipes")


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
    found = parse(WithSettings, ["--epochs", "4"], prog="elboroom train", start=start).settings
    assert (found.model.latent_dim, found.training.epochs) == (7, 4)


def test_a_value_out_of_range_is_named_by_its_option() -> None:
    for line, words in [
        ("--epochs 0", "--epochs 0: must be at least 1"),
        ("--data.size 0", "--data.size 0: must be a number of pixels, 1 to 4,096"),
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
    text = help_text(VERBS[name], f"elboroom {name}", everything=True, width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    for one in arguments(VERBS[name]):
        assert one.flag in text or one.flag.replace("--", "--no-", 1) in text
        assert one.option.help, f"{one.flag} of {name} has no help"
    assert "None" not in text


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.common])
def test_the_short_help_shows_what_people_use(name: str) -> None:
    flags = {one.flag for one in arguments(VERBS[name])}
    assert set(VERBS[name].common) <= flags
    text = help_text(VERBS[name], f"elboroom {name}", width=80)
    assert all(flag in text for flag in VERBS[name].common)
    assert "--conv-blocks" not in text
    assert "--help-all" in text


# Old spellings.


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--count 3", "steps", 3),
        ("--count=3", "steps", 3),
        ("--number-of 3", "steps", 3),
        ("--number-of -3", "steps", -3),
        ("--count 3 --steps 4", "steps", 4),
        ("--steps 4 --count 3", "steps", 3),
        ("--silent", "quiet", True),
        ("--quiet --no-silent", "quiet", False),
    ],
)
def test_old_spellings_are_read(line: str, name: str, value: object) -> None:
    assert read("r", *line.split())[name] == value


def test_old_spellings_are_not_shown_nor_abbreviated() -> None:
    text = help_text(Example, "elboroom verb", everything=True)
    assert "--steps" in text
    assert not re.search("--count|--number-of|--silent", text)
    for abbreviation in ("--coun", "--step", "--numb"):
        with pytest.raises(UsageError, match=f"unknown option {abbreviation}; "):
            read("r", abbreviation, "3")


def test_errors_name_the_current_spelling() -> None:
    for line, words in [
        ("r --count", r"--steps needs a value \(INT\)"),
        ("r --count x", "--steps x: must be a whole number"),
        ("r --silent=yes", "--quiet takes no value"),
    ]:
        with pytest.raises(UsageError, match=words):
            read(*line.split())


OLD = [
    (name, argument, old)
    for name, verb in VERBS.items()
    for argument in arguments(verb)
    for old in argument.flags[1:]
]


@pytest.mark.parametrize(("name", "argument", "old"), OLD, ids=[f"{name} {old}" for name, _, old in OLD])
def test_every_old_spelling_sets_its_option(name: str, argument: Argument, old: str) -> None:
    """Read as its current spelling is, whatever the value."""
    usual = {"--kinds": "weight=real"}.get(argument.flag, "1")
    words = [] if argument.is_switch else [*argument.choices, usual][-2:-1] or [usual]
    places = ["x" for one in arguments(VERBS[name]) if one.option.positional]
    found = [parse(VERBS[name], [*places, flag, *words], prog=name) for flag in (argument.flag, old)]
    assert found[0] == found[1] != parse(VERBS[name], places, prog=name)


@pytest.mark.parametrize("name", VERBS)
def test_no_spelling_means_two_options(name: str) -> None:
    flags = [flag for one in arguments(VERBS[name]) for flag in one.flags if not one.option.positional]
    assert len(flags) == len(set(flags))


def test_the_help_needs_neither_torch_nor_matplotlib() -> None:
    """So that it answers at once."""
    code = "import sys, elboroom.cli.main as m; m.main(['morph', '--help']); m.main(['train', '--help-all'])"
    check = "; print([name for name in ('torch', 'matplotlib', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
