"""The data of a run, and other data to look at in the same way."""

from __future__ import annotations

from pathlib import Path

from elboroom.cli.console import console
from elboroom.cli.inputs.other_data import check_suits, is_own
from elboroom.config import Config
from elboroom.data import NAMED, Dataset, full_name
from elboroom.data.alike import load_alike
from elboroom.data.conditioned import with_vectors
from elboroom.data.formats import Options
from elboroom.data.loading import load
from elboroom.errors import UsageError
from elboroom.evaluation.examples import as_trained
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.training.prepare import prepare
from elboroom.training.reading import options_for


def read_data(config: Config, *, plain: bool = False) -> Dataset:
    """Load the data of a configuration, before any split; see `options_of`."""
    source = config.data.source
    if source is None:
        raise UsageError("no data given: name a data set, a file or a folder, as in 'elboroom train mnist'")
    data = load(source, options_of(config, plain=plain))
    vectors = config.model.condition_file
    return data if vectors is None else with_vectors(data, Path(vectors))


def options_of(config: Config, *, plain: bool = False) -> Options:
    """How the data of a configuration are loaded: a table by the columns of the model, if it has some.

    A model with another likelihood than the mixed one takes rows of plain numbers, and so do models of which
    the configuration says nothing, as ``plain`` says.
    """
    mixed = not plain and config.model.likelihood in ("auto", "mixed")
    return options_for(config, mixed=mixed, columns=config.model.columns)


def read_own(run: Run, config: Config) -> Dataset:
    """Load a run's own data, whose location may differ from the run's configuration.

    Raises
    ------
    UsageError
        If they cannot be read; if they do not exist, the message explains how to give their new location.
    """
    try:
        return read_data(config, plain=run.custom_model)
    except UsageError as error:
        source = config.data.source
        if source is None or source in NAMED or Path(source).exists():
            raise
        # A pattern of shards names no file; the error may be another than a wrong location.
        what = f"{error};" if set(source) & set("*?{[") else f"the data of {run.path} are not at {source};"
        raise UsageError(f"{what} {_MOVED.format(run.path)}") from None


_MOVED = "if they have moved, give their new location with 'elboroom resume {} --data PATH'"


def run_data(run: Run, source: str | None = None, vectors: Path | None = None) -> Dataset:
    """Load the data a run was trained on, or other data to look at in the same way.

    Parameters
    ----------
    run : Run
        The run.
    source : str, optional
        Other data.
    vectors : Path, optional
        Condition vectors of the other data, for a model conditional on vectors.

    Raises
    ------
    UsageError
        If the run's data have changed, or other data do not suit the model.
    """
    own = run.config.data.source
    if source is not None and full_name(source) != own:
        data, moved = _other_data(run, source)
        for warning in () if moved else check_suits(run, data):
            console().print(f"warning: {warning}")
        for note in () if moved else data.notes:
            if note.startswith(("warning: column", "columns that")):
                console().print(f"{data.name}: {note}")
        return data if vectors is None else with_vectors(data, vectors)
    if vectors is not None:
        raise UsageError(f"--condition-file {vectors} needs --data; the run's own data have their vectors")
    if own is None:
        raise UsageError(f"{run.path} does not record its data; give them with --data")
    data = prepare(read_own(run, run.config), run.config)
    if not is_own(run, data, unknown=True):
        raise UsageError(
            f"{data.name} has changed since {run.path} was trained: restore the old data, or, "
            f"{_MOVED.format(run.path)}"
        )
    return data


def _other_data(run: Run, source: str) -> tuple[Dataset, bool]:
    """Load named data, and tell whether they are the run's own in a new location."""
    faces = run.config.data.prepare == "faces"
    options = options_of(run.config, plain=run.custom_model)
    shape = run.config.model.shape
    data = load_alike(source, run.preparation, shape, options, faces=faces)
    small = shape is None or any(own < side for own, side in zip(data.shape, shape, strict=False))
    croppable = data.is_image and not small
    data = prepare(data, run.config if croppable else run.config.updated(random_crop=None))
    vectors = run.config.model.condition_file
    if vectors is not None:  # those of the run's own data
        try:
            paired = with_vectors(data, Path(vectors))
        except UsageError:
            return data, False
        return (paired, True) if is_own(run, paired) else (data, False)
    return data, is_own(run, data)


def seen_data(run: Run, vae: VAE, source: str | None = None) -> Dataset:
    """Load data as `run_data` does, binarised if the run's model was trained on binary pixels."""
    return as_trained(vae, run_data(run, source), run.config.data.binarize)
