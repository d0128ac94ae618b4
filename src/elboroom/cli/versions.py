"""``elboroom --version --verbose``: what a bug report needs, without user names, host names or paths."""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from elboroom import __version__

_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)[^;]*(?:;.*?extra\s*==\s*['\"]([\w-]+)['\"])?.*")
_FOR_DEVELOPERS = ("bench", "bench-tables", "docs", "dev", "browser")
_MISSING = "not installed"


def version_lines() -> Iterator[str]:
    """Describe elboroom, Python, the system, PyTorch with its devices and threads, and the dependencies.

    Yields
    ------
    str
        A line such as ``numpy      2.4.6``.
    """
    yield f"elboroom   {__version__}"
    yield f"python     {platform.python_version()} ({platform.python_implementation()})"
    yield f"system     {platform.platform()}, {_cores()} cores, {_memory()}"
    yield from _torch_lines()
    settings = sorted(name for name in os.environ if name.startswith(("ELBOROOM_", "OMP_", "MKL_", "CUDA_")))
    yield f"settings   {', '.join(map(_setting, settings)) or 'none'}"
    needed, extras = _requirements()
    if not needed:
        yield "packages   unknown: elboroom runs from its source without being installed"
        return
    yield "packages   " + ", ".join(f"{name} {_version(name)}" for name in needed if name != "torch")
    for extra, names in extras.items():
        found = ", ".join(f"{name} {_version(name)}" for name in names)
        yield f"extra      {extra}: {found}"


def _torch_lines() -> Iterator[str]:
    try:
        torch: Any = importlib.import_module("torch")
        cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        hip = f", ROCm {torch.version.hip}" if torch.version.hip else ""
        yield f"torch      {torch.__version__}, {cuda}{hip}, {torch.backends.cpu.get_cpu_capability()}"
        devices = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
        if torch.cuda.is_available():
            devices += [
                f"cuda:{number} ({torch.cuda.get_device_name(number)})"
                for number in range(torch.cuda.device_count())
            ]
        yield f"devices    {', '.join(devices)}"
        within, between = torch.get_num_threads(), torch.get_num_interop_threads()
        yield f"threads    {within} within operations, {between} between"
    except Exception as error:  # a broken installation is what a report may be about
        yield f"torch      {_version('torch')}, fails with {type(error).__name__}"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    import psutil

    return f"{psutil.virtual_memory().total / 1e9:.0f} GB of memory"


def _setting(name: str) -> str:
    """An environment variable, with its value only if that is a number or several: others may be paths."""
    value = os.environ[name]
    return f"{name}={value}" if re.fullmatch(r"[\d,.]{1,20}", value) else name


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return _MISSING


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Names of the packages that elboroom needs, and of those that each extra for its users adds."""
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("elboroom") or []
    except metadata.PackageNotFoundError:
        lines = []
    for line in lines:
        found = _REQUIREMENT.fullmatch(line)
        if found is None or found[2] in _FOR_DEVELOPERS:
            continue
        (needed if found[2] is None else extras.setdefault(found[2], [])).append(found[1])
    return needed, extras
