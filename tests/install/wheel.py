"""Build wheel and sdist, install the wheel into a clean environment, and use it there::

    python tests/install/wheel.py           # with the dependencies of the running environment, and no others
    python tests/install/wheel.py --fresh   # with the newest versions that the ranges allow, downloaded

The clean environment holds elboroom and what its metadata require: a dependency that is used and not declared
is missing there, and so is a file that the wheel lacks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DEMO = ("train", "digits", "--epochs", "2", "--hidden", "32", "--figures-every", "0", "--quiet")


def required(requirements: Iterable[str]) -> dict[str, metadata.Distribution]:
    """Installed distributions that requirements ask for, and those that these ask for, by name.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If one is not installed.
    """
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    seen = set()
    while waiting:
        wanted, extra = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": extra})):
            continue
        seen.add(key)
        found[key[0]] = distribution = metadata.distribution(wanted.name)
        for text in distribution.requires or ():
            waiting += [(Requirement(text), extra) for extra in ("", *wanted.extras)]
    return found


def tops(distribution: metadata.Distribution) -> Iterator[Path]:
    """Files and folders of a distribution that lie directly in the environment's packages."""
    names = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    for name in sorted(names):
        yield Path(str(distribution.locate_file(name)))


def build(out: Path) -> tuple[Path, Path]:
    """Build sdist and, from it, the wheel; return their paths."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True, stdout=-3)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def requirements_of(wheel: Path) -> list[str]:
    """What a wheel requires, without its extras."""
    with zipfile.ZipFile(wheel) as held:
        (name,) = (name for name in held.namelist() if name.endswith(".dist-info/METADATA"))
        text = held.read(name).decode().partition("\n\n")[0]
    given = (line.partition(": ")[2] for line in text.splitlines() if line.startswith("Requires-Dist: "))
    return [line for line in given if "extra ==" not in line]


def install(wheel: Path, folder: Path, *, fresh: bool) -> Path:
    """Make a clean environment with a wheel in it, and return the path of its programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    if not fresh:
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"], check=True)
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(
            subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        )
        for distribution in required(requirements_of(wheel)).values():
            for top in tops(distribution):
                if not (packages / top.name).exists():
                    (packages / top.name).symlink_to(top, target_is_directory=top.is_dir())
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *(() if fresh else ("--no-index",)), str(wheel)],
        check=True,
    )
    return programs


def use(programs: Path, scratch: Path) -> None:
    """Run what a new user runs first, outside of the repository."""
    settings = {
        **os.environ,
        "PYTHONPATH": "",
        "ELBOROOM_CACHE": str(scratch / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    elboroom = str(programs / "elboroom")
    for words in (
        [elboroom, "--version", "--verbose"],
        [elboroom, "data", "annotate", "--help"],
        [elboroom, *DEMO, "--out", str(scratch / "run")],
        [elboroom, "evaluate", str(scratch / "run"), "--limit", "20", "--num-samples", "4"],
        [str(programs / "python"), "-m", "pip", "check"],
    ):
        print("$", *words, flush=True)
        subprocess.run(words, cwd=scratch, env=settings, check=True)
    for name in ("annotation", "explorer"):
        code = f"from importlib.resources import files; (files('elboroom.{name}') / 'page.html').read_text()"
        subprocess.run([programs / "python", "-c", code], cwd=scratch, env=settings, check=True)


def main() -> None:
    """Build, install and use."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0] if __doc__ else "")
    parser.add_argument("--fresh", action="store_true", help="download the dependencies")
    parser.add_argument("--out", type=Path, help="keep wheel and sdist in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        out = given.out or scratch / "dist"
        for old in [*out.glob("elboroom-*.whl"), *out.glob("elboroom-*.tar.gz")]:
            old.unlink()
        sdist, wheel = build(out)
        use(install(wheel, scratch / "clean", fresh=given.fresh), scratch)
        for made in (sdist, wheel):
            print(f"{made.name}: {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
