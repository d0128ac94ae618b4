"""Print the lowest version that ``pyproject.toml`` allows of each dependency, as constraints for pip::

    python tests/install/lowest.py > lowest.txt
    python tests/install/lowest.py --keep torch    # torch at its version in constraints.txt instead

The ranges are read from the file itself, those of all extras and of the build included; only the standard
library is needed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_REQUIREMENT = re.compile(
    r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^]]*\])?\s*(?:>=|==)\s*([\w.]+)\s*(?:,[^;]*)?(?:;.*)?"
)


def requirements(project: dict[str, Any]) -> Iterator[str]:
    """All requirements in a parsed ``pyproject.toml``: of the package, of each extra and of the build."""
    yield from project["project"]["dependencies"]
    for extra in project["project"].get("optional-dependencies", {}).values():
        yield from extra
    yield from project["build-system"]["requires"]


def lowest(given: Iterable[str]) -> dict[str, str]:
    """Lowest allowed version of each package, by its normalized name.

    Raises
    ------
    ValueError
        If a requirement does not begin with its lower bound, or a package has two different ones.

    Examples
    --------
    >>> lowest(["torch>=2.6", "Pillow_heif >= 0.21, <2", "pythae==0.1.2"])
    {'torch': '2.6', 'pillow-heif': '0.21', 'pythae': '0.1.2'}
    """
    found: dict[str, str] = {}
    for text in given:
        match = _REQUIREMENT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} does not begin with a lower bound; write it as 'name>=version'")
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        if found.setdefault(name, match[2]) != match[2]:
            raise ValueError(
                f"{name} has two lower bounds, {found[name]} and {match[2]}; write the same in both"
            )
    return found


def pinned(constraints: str) -> dict[str, str]:
    """Version of each package that ``constraints.txt`` pins, by its normalized name."""
    lines = (line.split("#")[0].strip() for line in constraints.splitlines())
    return lowest(line for line in lines if line)


def constraints(keep: Iterable[str] = (), root: Path = ROOT) -> list[str]:
    """Lines for ``pip install -c``, sorted by name; the packages in ``keep`` at their pinned versions."""
    versions = lowest(requirements(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))))
    if keep:
        pins = pinned((root / "constraints.txt").read_text("utf-8"))
        versions |= {name: pins[name] for name in keep}
    return sorted(f"{name}=={version}" for name, version in versions.items())


def main() -> None:
    """Print one constraint a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", nargs="*", default=[], metavar="NAME", help="leave these at their pins")
    sys.stdout.writelines(f"{line}\n" for line in constraints(parser.parse_args().keep))


if __name__ == "__main__":
    main()
