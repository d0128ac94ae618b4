"""What several verbs need: a run with its data, and the images that people name."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from elboroom.cli.commands.other_data import check_suits, is_own
from elboroom.cli.commands.photos import named_photo, read_photo
from elboroom.cli.options import Prepare
from elboroom.config import Config
from elboroom.data import NAMED, Dataset, load_data
from elboroom.data import full_name as full_name
from elboroom.data.alike import load_alike
from elboroom.data.conditioned import with_vectors
from elboroom.data.loading import checked_options
from elboroom.distributed.processes import speaks
from elboroom.errors import UsageError, nearest, printable
from elboroom.evaluation.examples import as_trained, examples_of, to_levels
from elboroom.figures.by_class import friends
from elboroom.figures.style import to_png
from elboroom.io.files import write_atomic
from elboroom.models.conditioning import Condition, Examples, together
from elboroom.models.vae import VAE, Array
from elboroom.runs.run import Run
from elboroom.training.devices import find_device
from elboroom.training.prepare import prepare
from elboroom.training.terminal import PlainConsole

_INDEXED = re.compile(r"(?P<source>.+?)(:(?P<part>train|test|validation))?:(?P<index>-?\d+)")


def console(*, quiet: bool = False) -> Console:
    """Where verbs tell what they do; standard output stays free for results.

    On a terminal lines are broken between words; elsewhere they are left as they are.
    """
    quiet = quiet or not speaks()
    # Paths and names are printed as they are: a bracket in them is no markup.
    found = PlainConsole(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)
    found.soft_wrap = not found.is_terminal
    return found


def line_width() -> int | None:
    """Cells of a line of the terminal that results go to; None if they go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def read_data(config: Config) -> Dataset:
    """Load the configuration's data as they come, with nothing held out yet."""
    source = config.data.source
    if source is None:
        raise UsageError("no data named: give a set, a file or a folder, as in 'elboroom train mnist'")
    data = load_data(source, size=config.data.size, channels=config.data.channels, strict=config.data.strict)
    vectors = config.model.condition_file
    return data if vectors is None else with_vectors(data, Path(vectors))


def read_own(run: Run, config: Config) -> Dataset:
    """As `read_data`, of a run's own configuration or one with other places.

    Raises
    ------
    UsageError
        If they cannot be read; if they are gone, the message says how to name their new place.
    """
    try:
        return read_data(config)
    except UsageError as error:
        source = config.data.source
        if source is None or source in NAMED or Path(source).exists():
            raise
        # Of a pattern of shards that does not exist as it stands, more than their place may be wrong.
        what = f"{error};" if set(source) & set("*?{[") else f"the data of {run.path} are not at {source}:"
        raise UsageError(f"{what} {_MOVED.format(run.path)}") from None


_MOVED = "if they have moved, say where they are with 'elboroom resume {} --data PATH'"


def run_data(run: Run, source: str | None = None, vectors: Path | None = None) -> Dataset:
    """Load the data a run was trained on, or other data to look at in the same way.

    Parameters
    ----------
    run : Run
        Names its data.
    source : str, optional
        Other data.
    vectors : Path, optional
        Vectors for each of these, for a model that is conditional on such.

    Raises
    ------
    UsageError
        If the run's data are no longer what they were, or other data do not suit the model.
    """
    own = run.config.data.source
    if source is not None and full_name(source) != own:
        data, moved = _other_data(run, source)
        for warning in () if moved else check_suits(run, data):
            console().print(f"warning: {warning}", markup=False)
        return data if vectors is None else with_vectors(data, vectors)
    if vectors is not None:
        raise UsageError(
            f"--condition-file {vectors}: the run's own data have vectors; name others by --data"
        )
    if own is None:
        raise UsageError(f"{run.path} does not say what it was trained on; name data with --data")
    data = prepare(read_own(run, run.config), run.config)
    if not is_own(run, data, unknown=True):
        raise UsageError(
            f"{data.name} is no longer what {run.path} was trained on: bring the old data back, or, "
            f"{_MOVED.format(run.path)}"
        )
    return data


def _other_data(run: Run, source: str) -> tuple[Dataset, bool]:
    """Data that are named, and whether they are the run's own, which have moved."""
    own = run.config.data
    options = checked_options(own.size, own.channels, own.strict)
    faces = own.prepare == "faces"
    data = load_alike(source, run.preparation, run.config.model.shape, options, faces=faces)
    data = prepare(data, run.config)
    vectors = run.config.model.condition_file
    if vectors is not None:  # those of the run's own data
        try:
            told = with_vectors(data, Path(vectors))
        except UsageError:
            return data, False
        return (told, True) if is_own(run, told) else (data, False)
    return data, is_own(run, data)


def seen_data(run: Run, vae: VAE, source: str | None = None) -> Dataset:
    """As `run_data`, with pixels turned to zeros and ones if the run's model was trained on such."""
    return as_trained(vae, run_data(run, source), run.config.data.binarize)


def read_example(
    name: str, vae: VAE, run: Run, *, prepare: Prepare = "auto", label: str | None = None
) -> Array:
    """One example in model units, (*shape), from an image file or "SET:7", "SET:test:7", ":7".

    Parameters
    ----------
    name : str
        An image file, with ":2" after it for the second largest face; or a data set and an index into it,
        optionally of one of its parts. Without a set the run's own is meant.
    vae, run
        Give the shape, the units and the run's own data.
    prepare : {"auto", "faces", "crop", "none"}
        What is done to image files; see `elboroom.cli.commands.photos.read_photo`.
    label : str, optional
        What a conditional model is told of it; an example of a data set has a condition of its own.

    Raises
    ------
    UsageError
        If there is no such file or example, its shape is not the model's, or what the model must be told is
        not known.
    """
    if name.startswith(":"):
        if run.config.data.source is None:
            raise UsageError(
                f"{name}: {run.path} does not say what it was trained on; name a set, as in mnist{name}"
            )
        name = f"{run.config.data.source}{name}"
    indexed = _INDEXED.fullmatch(name)
    told = named_condition(vae, label)
    named = named_photo(name)
    if indexed and named is None:
        return _indexed_example(indexed, vae, run, told)
    if vae.condition is not None and told is None:
        raise UsageError(
            f"{name}: the model must be told {vae.condition.describe()}; say which it is with --label"
        )
    if len(vae.shape) != 3:
        raise UsageError(f"{name}: the model takes {described(vae.shape)}, not images; name one as SET:INDEX")
    if named is None:
        raise UsageError(
            f"no image at {name}; give an image file, or an example as SET:INDEX, such as mnist:7"
        )
    path, face = named
    photo = read_photo(path, vae.shape, run, prepare, face)
    if photo.how:
        console().print(f"{name}: {photo.how}", markup=False)
    black, white = vae.value_range
    x = (black + photo.pixels / 255.0 * (white - black)).astype(np.float32)
    x = to_levels(vae, x, run.config.data.binarize)
    return x if told is None else Examples(x, told)


def described(shape: Sequence[int]) -> str:
    """What examples of a shape without pixels are.

    Examples
    --------
    >>> described((5,)), described((100, 3))
    ('rows of 5 numbers', 'time series of 100 steps and 3 channels')
    """
    if len(shape) == 1:
        return f"rows of {shape[0]} numbers"
    return f"time series of {shape[0]} steps and {shape[1]} channel{'' if shape[1] == 1 else 's'}"


def named_condition(vae: VAE, label: str | None) -> NDArray[Any] | None:
    """Condition (C,) that was written as --label, for a model that takes one.

    Raises
    ------
    UsageError
        If the model takes no condition, or no such one.
    """
    if label is None:
        return None
    if vae.condition is None:
        raise UsageError(f"--label {label}: this run's model is not conditional; leave it out")
    return condition_vector(vae, vae.condition.parse(label))


def condition_vector(vae: VAE, condition: Condition) -> NDArray[Any]:
    """One condition as the parts of a conditional model take it, (C,)."""
    told = vae.condition_vectors(condition, 1)
    assert told is not None
    found: NDArray[Any] = told[0].cpu().numpy()
    return found


def fixed(vae: VAE, label: str | None) -> VAE:
    """A run's model given what --label says, where that must be known.

    Raises
    ------
    UsageError
        If the model is conditional and there is no --label, or the label does not fit.
    """
    told = named_condition(vae, label)
    if told is not None:
        return vae.given(told)
    if vae.condition is not None:
        raise UsageError(f"--label is missing: the model must be told {vae.condition.describe()}")
    return vae


def _indexed_example(indexed: re.Match[str], vae: VAE, run: Run, told: NDArray[Any] | None) -> Array:
    source, part, index = indexed["source"], indexed["part"] or "all", int(indexed["index"])
    data = seen_data(run, vae, source)
    chosen = data.indices(part)  # type: ignore[arg-type]
    if not 0 <= index < len(chosen):
        what = f"{part} examples" if part != "all" else "examples"
        raise UsageError(
            f"{indexed[0]}: {source} has {len(chosen):,} {what}; the index is 0 to {len(chosen) - 1}"
        )
    if told is not None:
        return Examples(data.values(chosen[index : index + 1])[0], told)
    return example_of(vae, data, int(chosen[index]))


def example_of(vae: VAE, data: Dataset, row: int) -> Array:
    """One example (*shape), its condition as a vector: so it can stand beside one that --label describes."""
    example = examples_of(vae, data, np.array([row]))[0]
    if isinstance(example, Examples):
        return Examples(example.x, condition_vector(vae, example.condition))
    return example


def output_file(out: Path | None, default: Path, allowed: tuple[str, ...], *, overwrite: bool = True) -> Path:
    """Where to write, with its suffix checked and its folder made; see :func:`free_files`.

    Raises
    ------
    UsageError
        If the suffix is not one of ``allowed``, or ``out`` is there and may not be replaced.
    """
    path = out or default
    if path.suffix.lower() not in allowed:
        hint = nearest(path.suffix, allowed) if path.suffix else f"known: {', '.join(allowed)}"
        raise UsageError(f"--out {path}: cannot write a {path.suffix or 'file without suffix'}; {hint}")
    path.parent.mkdir(parents=True, exist_ok=True)
    (free,) = free_files([path], named=out is not None, overwrite=overwrite)
    return free


def free_files(paths: Sequence[Path], *, named: bool, overwrite: bool) -> list[Path]:
    """Where to write files that belong together, so that none replaces an earlier one unasked.

    Parameters
    ----------
    paths : sequence of Path
        Where they would go.
    named : bool
        The user chose the place with --out. It is taken or refused; places that elboroom chose are numbered
        if one of them is taken: morph-2.gif, morph-3.gif.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    UsageError
        If a place that the user chose is taken.
    """
    taken = [path for path in paths if path.exists()]
    if overwrite or not taken:
        return list(paths)
    if named:
        raise UsageError(
            f"--out: {shown(taken[0])} already exists; replace it with --overwrite, or give another --out"
        )
    number = 2
    while any(path.exists() for path in _numbered(paths, number)):
        number += 1
    return _numbered(paths, number)


def _numbered(paths: Sequence[Path], number: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for path in paths]


def shown(path: Path) -> str:
    """A path as short as it can be said from here, with control characters escaped."""
    try:
        near = path.is_absolute() and path.is_relative_to(Path.cwd())
    except OSError:
        near = False
    return printable(os.path.relpath(path) if near else str(path))


def load_model(run: Run, device: str) -> VAE:
    """A run's model on a device."""
    return run.model().to(find_device(device))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and say so."""
    write_atomic(path, to_png(figure))
    wrote(path)


def save_seen(vae: VAE, names: Sequence[str], examples: Sequence[Array], path: Path) -> None:
    """Draw examples that people named as the model gets them, beside their reconstructions."""
    save_figure(friends(vae, together(list(examples)), [Path(name).name for name in names]), path)


def wrote(path: Path) -> None:
    """Say which picture was written."""
    console().print(f"picture  {shown(path)}")
