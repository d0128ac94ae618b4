"""The command line: which verb, its options, and every error in one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elboroom import __version__
from elboroom.cli.commands.compare import Compare
from elboroom.cli.help import help_text
from elboroom.cli.parser import in_options, parse
from elboroom.cli.verbs import COMMON, VERBS, Train
from elboroom.config import Config, read_preset, read_toml
from elboroom.errors import (
    AnotherFailedError,
    DataWarning,
    ElboroomError,
    RunWarning,
    UsageError,
    nearest,
    one_line,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure, 2 for wrong usage."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # results in ASCII or Latin-1, "±" escaped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # verbs say so themselves, in a line
            warnings.filterwarnings("always", category=RunWarning)
            warnings.showwarning = _tell
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except ElboroomError as error:
        return _fail("" if _another_tells(error) else _told(error), error.exit_code)
    except KeyboardInterrupt as stop:
        code = 128 + getattr(stop, "signal_number", 2)
        return _fail("" if _another_tells(stop) else str(stop) or "stopped", code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if "home directory" in str(error):
            return _fail("a path begins with ~ and a name that no user of this machine has; correct it", 2)
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            return _unexpected(error)
        return _fail("out of memory; take a smaller --batch-size, --hidden or data set", 1)
    except Exception as error:
        return _unexpected(error)


_show = warnings.showwarning


def _tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print a warning of ours in one line; others as Python does."""
    if category.__module__ == RunWarning.__module__:
        print(one_line(f"elboroom: warning: {message}"), file=sys.stderr)
    else:
        _show(message, category, *where, **more)


def _told(error: ElboroomError) -> str:
    """What an error says, of options where it was not a file that held the values."""
    return str(error) if ".toml:" in str(error) else in_options(str(error))


def _another_tells(error: BaseException) -> bool:
    """Of several processes that one training runs in, the first speaks for all where all meet the same."""
    first = os.environ.get("RANK", "0") == "0"
    return not first and isinstance(error, AnotherFailedError | KeyboardInterrupt)


def _unexpected(error: Exception) -> int:
    if os.environ.get("ELBOROOM_TRACEBACK"):
        raise error
    return _fail(f"unexpected {type(error).__name__}: {error} (a bug: ELBOROOM_TRACEBACK=1 shows where)", 1)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"elboroom {__version__}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb == "data":
        verbs = [name.removeprefix("data ") for name in VERBS if name.startswith("data ")]
        if not rest or rest[0] in ("-h", "--help"):
            print(_overview("data "))
            return 0
        if rest[0] not in verbs:
            raise UsageError(f"unknown verb 'data {rest[0]}'; {nearest(rest[0], verbs)}")
        verb, rest = f"data {rest[0]}", rest[1:]
    elif verb not in VERBS:
        raise UsageError(f"unknown verb {verb!r}; {nearest(verb, {name.split()[0] for name in VERBS})}")
    prog = f"elboroom {verb}"
    if asked := {"-h", "--help", "--help-all"} & set(rest):
        common, everything = COMMON.get(verb, ()), "--help-all" in asked
        print(help_text(VERBS[verb], prog, common=common, everything=everything))
    elif verb == "train":
        parse(Train, rest, prog=prog, default=Train(settings=_starting_point(rest)))()
    elif verb == "compare":
        _compare(rest)
    else:
        parse(VERBS[verb], rest, prog=prog)
    return 0


def _compare(argv: list[str]) -> None:
    """Read the command line once for each recipe, as 'train' would, before anything is trained."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--recipes")
    with contextlib.suppress(argparse.ArgumentError):  # a missing value, which the full parser explains
        given = early.parse_known_args(argv)[0].recipes
        if given is not None:
            from elboroom.comparison.plan import names_of, sift, wants_all
            from elboroom.comparison.variants import split_variant

            def read(name: str) -> Compare:
                recipe, own = split_variant(name)
                # Before the options, which may go with them only, and after, as they are the nearer word.
                start = Compare(settings=_starting_point(argv, recipe, own))
                found = parse(Compare, argv, prog="elboroom compare", default=start)
                return replace(found, settings=found.settings.updated(**own))

            leave_out = wants_all(given)
            found, refused = sift(names_of(given), read, leave_out=leave_out)
            command = next(iter(found.values()))
            command({name: one.settings for name, one in found.items()}, refused, leave_out=leave_out)
            return
    parse(Compare, argv, prog="elboroom compare")  # which may have something to say
    raise UsageError("no recipe named; add --recipes vae,beta-vae,iwae, or --recipes all")


def _starting_point(
    argv: Sequence[str], recipe_name: str | None = None, fields: Mapping[str, Any] | None = None
) -> Config:
    """Read --preset, --recipe (or the one given) and --config ahead of the options they are defaults of."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset")
    early.add_argument("--recipe")
    early.add_argument("--config", type=Path)
    try:
        found, _ = early.parse_known_args(argv)
    except argparse.ArgumentError:
        return Config()  # a missing value, which the full parser explains
    settings = read_preset(found.preset) if found.preset is not None else Config()
    name = recipe_name or found.recipe
    if name is not None:
        from elboroom.objectives.recipes import recipe

        settings = recipe(name, settings, **fields or {})
    return read_toml(found.config, settings) if found.config is not None else settings


def _overview(prefix: str = "") -> str:
    """All verbs, a line each, from their docstrings."""
    lines = [f"usage: elboroom {prefix}VERB ...", ""]
    if not prefix:
        lines += ["Train, measure and explore variational autoencoders.", ""]
    verbs = {name.removeprefix(prefix): verb for name, verb in VERBS.items() if name.startswith(prefix)}
    width = max(map(len, verbs))
    lines += [f"  {name:<{width}}  {(verb.__doc__ or '').splitlines()[0]}" for name, verb in verbs.items()]
    lines += ["", f"'elboroom {prefix}VERB --help' tells all about one of them."]
    if not prefix:
        lines.append("To begin with: elboroom train mnist-5k --latent-dim 2")
    return "\n".join(lines)


def _fail(message: str, code: int) -> int:
    if message:
        print(one_line(f"elboroom: {message}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
