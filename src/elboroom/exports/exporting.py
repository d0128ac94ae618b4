"""Write a model to a folder of files for other programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from elboroom.data.new_folder import new_folder
from elboroom.errors import UsageError, nearest
from elboroom.exports.checking import BATCHES, TOLERANCE
from elboroom.exports.description import FILE, describe, readme
from elboroom.exports.diffusers_files import latents_of
from elboroom.exports.networks import Networks, Pixels, networks_of
from elboroom.exports.targets import TARGETS
from elboroom.io.files import explain_disk, json_text
from elboroom.models.vae import VAE
from elboroom.runs.run import Run, load


def export(
    source: VAE | Run | str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: str | Sequence[str] = "onnx",
    *,
    pixels: Pixels = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a model's encoder and decoder to a folder of files that run without elboroom.

    The folder holds ``encoder`` and ``decoder`` in each format, ``export.json`` (inputs, outputs, shapes,
    units, names of classes and columns, versions) and a ``README.md`` with code that runs them. Before the
    folder appears under its name, every file is read back, run on 1, 2 and 7 examples and compared with the
    model.

    Parameters
    ----------
    source : VAE, Run or path
        The model: as it is, of a run folder, or of a file that :meth:`elboroom.VAE.save` wrote.
    out : path
        The folder.
    to : str or sequence of str
        Names of formats, keys of ``TARGETS``.
    pixels : {"auto", "uint8", "float32"}
        Type of the numbers that the encoder takes; see :func:`elboroom.exports.networks.networks_of`.
    overwrite : bool
        Replace an earlier export in ``out``.

    Returns
    -------
    dict
        The content of ``export.json``.

    Raises
    ------
    UsageError
        If a format is unknown or its packages are not installed, or ``out`` exists.
    FailureError
        If a network cannot be expressed in a format, the exported results differ from the model's, or the
        folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> vae = VAE.build(shape=(28, 28, 1), hidden=[16])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     about = export(vae, Path(folder) / "mine", "pt2")
    >>> [(port["name"], port["dtype"], port["shape"]) for port in about["encoder"]["inputs"]]
    [('x', 'uint8', ['n', 28, 28, 1])]
    """
    targets = _checked([to] if isinstance(to, str) else list(to))
    folder = Path(out)
    with explain_disk(folder):
        check_free(folder, overwrite=overwrite)
    if not isinstance(source, VAE | Run):
        source = (
            load(source) if isinstance(source, str | os.PathLike) and Path(source).is_file() else Run(source)
        )
    networks = _networks_of(source, pixels)
    run = source if isinstance(source, Run) else None
    about = describe(networks, run)
    if "diffusers" in targets:
        about["latents"] = latents_of(networks.vae, run)
    with new_folder(folder) as scratch, networks.vae.at_rest():
        gaps = {name: TARGETS[name].write(networks, scratch, dict(about)) for name in targets}
        about["formats"] = {name: _facts(name, gaps[name], scratch) for name in targets}
        (scratch / "README.md").write_text(readme(networks, targets, gaps), encoding="utf-8")
        (scratch / FILE).write_text(json_text(about, indent=2) + "\n", encoding="utf-8")
    return about


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where an export may not be written.

    Raises
    ------
    UsageError
        If something is there, unless it is an empty folder or, with ``overwrite``, an earlier export.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give another out=")
    earlier = (folder / FILE).is_file()
    if earlier and not overwrite:
        raise UsageError(
            f"{folder} already contains an export; set overwrite=True to replace it, or give another out="
        )
    if not earlier and any(folder.iterdir()):
        raise UsageError(f"{folder} contains files but no export; give an empty or new folder as out=")


def _checked(to: Sequence[str]) -> list[str]:
    """Names of formats, each once, whose packages are installed."""
    if not to:
        raise UsageError(f"to is empty; name at least one of {', '.join(TARGETS)}")
    for name in to:
        if name not in TARGETS:
            raise UsageError(f"to = {name!r}: no such format; {nearest(name, TARGETS)}")
        lacking = [package for package in TARGETS[name].packages if find_spec(package) is None]
        if lacking:
            raise UsageError(f"to = {name!r} needs {', '.join(lacking)}; run pip install 'elboroom[{name}]'")
    return list(dict.fromkeys(to))


def _networks_of(source: VAE | Run, pixels: Pixels) -> Networks:
    if isinstance(source, VAE):
        return networks_of(source, pixels=pixels)
    threshold = source.config.data.binarize == "threshold"
    return networks_of(source.model(), pixels=pixels, threshold=threshold)


def _facts(name: str, gaps: dict[str, float], folder: Path) -> dict[str, Any]:
    """What export.json says of one format: its files, versions and how it was checked."""
    files = sorted(TARGETS[name].files) or sorted(
        path.name for path in folder.iterdir() if f".{name}" in path.name
    )
    return {
        "files": files,
        **dict(TARGETS[name].facts),
        "checked": {"batches": list(BATCHES), "tolerance": TOLERANCE, "largest_difference": gaps},
        "versions": {package: version(package) for package in TARGETS[name].packages},
    }
