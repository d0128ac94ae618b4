"""The ``elboroom`` program: find the verb, run it, and report every error in one line."""

from __future__ import annotations

import os
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from elboroom import __version__
from elboroom.cli.help import help_text
from elboroom.cli.parser import in_options
from elboroom.cli.verbs import VERBS
from elboroom.cli.versions import version_lines
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
    """Run one command line and return the exit code: 0, 1 for a failure, 2 for a usage error."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # "±" in an ASCII or Latin-1 locale
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # verbs print these themselves
            warnings.filterwarnings("always", category=RunWarning)
            warnings.showwarning = _print_warning
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except ElboroomError as error:
        return _fail("" if _is_reported_by_first(error) else _message(error), error.exit_code)
    except KeyboardInterrupt as stop:
        code = 128 + getattr(stop, "signal_number", 2)
        return _fail("" if _is_reported_by_first(stop) else str(stop) or "stopped", code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except (MemoryError, RuntimeError) as error:
        if "home directory" in str(error):
            return _fail("a path starts with ~ and a user name that does not exist on this machine", 2)
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            return _unexpected(error)
        return _fail("out of memory; reduce --batch-size, --hidden or the data set", 1)
    except Exception as error:
        return _unexpected(error)


_show = warnings.showwarning


def _print_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print a warning of elboroom in one line; others as Python does."""
    if category.__module__ == RunWarning.__module__:
        print(one_line(f"elboroom: warning: {message}"), file=sys.stderr)
    else:
        _show(message, category, *where, **more)


def _message(error: ElboroomError) -> str:
    """Word an error in terms of options, unless it is about a value in a configuration file."""
    return str(error) if ".toml:" in str(error) else in_options(str(error))


def _is_reported_by_first(error: BaseException) -> bool:
    """Whether this is one of several training processes, and the first of them reports the same error."""
    first = os.environ.get("RANK", "0") == "0"
    return not first and isinstance(error, AnotherFailedError | KeyboardInterrupt)


def _unexpected(error: Exception) -> int:
    if os.environ.get("ELBOROOM_TRACEBACK"):
        raise error
    return _fail(
        f"unexpected {type(error).__name__}: {error} (a bug; ELBOROOM_TRACEBACK=1 shows the traceback)",
        1,
    )


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if argv[0] in ("-V", "--version"):
        if wrong := set(argv[1:]) - {"-v", "--verbose"}:
            raise UsageError(f"--version takes --verbose and nothing else, not {min(wrong)!r}")
        print("\n".join(version_lines()) if argv[1:] else f"elboroom {__version__}")
        return 0
    if argv[0] == "data" and (not argv[1:] or argv[1] in ("-h", "--help")):
        print(_overview("data "))
        return 0
    name, rest = _split_verb(argv)
    verb, prog = VERBS[name], f"elboroom {name}"
    if asked := {"-h", "--help", "--help-all"} & set(rest):
        print(help_text(verb, prog, everything="--help-all" in asked))
    else:
        verb.read(rest, prog)()
    return 0


def _split_verb(argv: list[str]) -> tuple[str, list[str]]:
    """Split a command line into the verb, which is one word or "data" and another, and the rest."""
    words = 2 if argv[0] == "data" else 1
    name, rest = " ".join(argv[:words]), argv[words:]
    if name not in VERBS:
        prefix = "data " if words == 2 else ""
        known = {verb.removeprefix(prefix).split()[0] for verb in VERBS if verb.startswith(prefix)}
        raise UsageError(f"unknown command {name!r}; {nearest(argv[words - 1], known)}")
    return name, rest


def _overview(prefix: str = "") -> str:
    """All verbs with the first sentence of their docstrings."""
    lines = [f"usage: elboroom {prefix}COMMAND [OPTIONS]", ""]
    if not prefix:
        lines += ["Train, measure and explore variational autoencoders.", ""]
    verbs = {name.removeprefix(prefix): verb for name, verb in VERBS.items() if name.startswith(prefix)}
    column = max(map(len, verbs)) + 4
    for name, verb in verbs.items():
        summary = (verb.__doc__ or "").split("\n\n")[0].split(". ")[0].rstrip(".") + "."
        lines += textwrap.wrap(
            " ".join(summary.split()),
            80,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )
    lines += ["", f"'elboroom {prefix}COMMAND --help' shows the options of a command."]
    if not prefix:
        lines.append("'elboroom --version --verbose' prints what a bug report needs.")
        lines.append("To get started: elboroom train mnist-5k --latent-dim 2")
    return "\n".join(lines)


def _fail(message: str, code: int) -> int:
    if message:
        print(one_line(f"elboroom: {message}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
