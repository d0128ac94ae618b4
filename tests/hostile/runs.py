"""Hostile run folders: every file of a run damaged, or from somewhere else."""

# ruff: noqa: E501 - tables of inputs, one a line

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from elboroom.io.tensors import read_tensors, write_tensors

from .arrays import changed
from .case import Case, Make

_LONG = "9" * 5000
COMMANDS = {
    "evaluate": "evaluate run --num-samples 0 --limit 2 --json",
    "loss": "figures run --only loss --out out",
    "sample": "sample run --n 2 --out s.npy",
    "resume": "resume run --epochs 1",
    "report": "report run --json",
    "train": "train x.npy --dry-run --out run --overwrite",
}
# What any JSON file may hold instead.
JSON: dict[str, str | bytes] = {
    "empty": "",
    "deep": "[" * 100_000,
    "deep objects": '{"a": ' * 50_000,
    "a list": "[1, 2]",
    "null": "null",
    "a number": "7",
    "5,000 digits": f'{{"a": {_LONG}}}',
    "binary": b"\xff\xfe\x00",
    "nul bytes": bytes(20),
    "cut": '{"a": ',
    "nan": '{"a": NaN, "elbo": NaN}',
    "surrogates": '{"a": "\\ud800"}',
    "an empty object": "{}",
}
# (place in config.json, what stands there)
CONFIGS: list[tuple[str, Any]] = [
    *(("format", value) for value in (None, True, -1, 0, 1.5, "1", 99, 10**30, [], float("nan"))),
    *(
        (section, value)
        for section in ("data", "model", "training")
        for value in (None, 1, "x", [], {"x": 1})
    ),
    ("objective", []),
    ("optimizer", 3),
    ("unknown", {}),
    *(
        ("model.shape", value)
        for value in (None, [], [0], [-1], [2**40], [2**40, 2**40], [4, 4, 4, 4, 4], ["x"], 4, [10**30])
    ),
    *(("model.hidden", value) for value in ([2**45], [0], [10**30], "x", [1] * 2000)),
    *(("model.latent_dim", value) for value in (0, 2**50, 10**30, 1.5, "x", None, float("nan"))),
    *(("model.scale", value) for value in (0, -1, float("nan"), float("inf"), "x", 1e300)),
    *(("model.likelihood", value) for value in ("x", 1, None, "\x1b[31m", "x" * 9000)),
    *(("data.source", value) for value in (1, "", "\0", "\x1b[31m", "x" * 9000, "/dev/null", [])),
    *(("training.seed", value) for value in (-1, 2**64, 10**30, 1.5, "x", float("nan"))),
    *(("training.epochs", value) for value in (0, 10**30, "x", None)),
    ("training.device", "\x1b[31m"),
    ("training.device", "cuda:99999999999999999999"),
    ("data.split_seed", 2**64),
    ("data.validation", 1e-300),
    ("model.condition", "labels"),
    ("model.condition_names", "abc"),
]
HISTORIES: dict[str, str | bytes] = {
    "numbers": "1\n2\n",
    "lists": "[]\n[1]\n",
    "null": "null\n",
    "empty objects": "{}\n{}\n",
    "words for numbers": '{"epoch": "x", "loss": "y"}\n',
    "no epoch": '{"loss": 1.0}\n',
    "epoch null": '{"epoch": null, "loss": null}\n',
    "nan": '{"epoch": 1, "loss": NaN, "train_loss": NaN, "elbo": NaN}\n',
    "huge": '{"epoch": 1e308, "loss": 1e308, "distortion": 1e308, "rate": 1e308, "beta": 1e308, "lr": 1e308}\n',
    "5,000 digits": f'{{"epoch": {_LONG}}}\n',
    "deep": "[" * 100_000,
    "nested": '{"epoch": {"a": 1}, "loss": [1]}\n',
    "unlike rows": '{"epoch": 1}\n{"epoch": 2, "loss": 3}\n3\n',
    "binary": b"\xff\xfe\x00\n",
    "blank lines": "\n\n",
    "empty": "",
}
_TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "nan": lambda w: {k: torch.full_like(v, float("nan")) for k, v in w.items()},
    "infinite": lambda w: {k: torch.full_like(v, float("inf")) for k, v in w.items()},
    "1e38": lambda w: {k: torch.full_like(v, 1e38) for k, v in w.items()},
    "other shapes": lambda w: {k: torch.zeros(3, 3) for k in w},
    "scalars": lambda w: {k: torch.zeros(()) for k in w},
    "integers": lambda w: {k: torch.zeros(v.shape, dtype=torch.int64) for k, v in w.items()},
    "float64": lambda w: {k: v.double() for k, v in w.items()},
    "complex": lambda w: {k: v.to(torch.complex64) for k, v in w.items()},
    "no tensors": lambda _: {},
    "one missing": lambda w: dict(list(w.items())[1:]),
    "one more": lambda w: {**w, "more": torch.zeros(1)},
    "3,000 others": lambda _: {f"layer{'x' * 50}.{i}": torch.zeros(1) for i in range(3000)},
    "names of control characters": lambda w: {**w, "\x1b[31m\n": torch.zeros(1)},
}


def _file(name: str, content: str | bytes, command: str) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "run" / name
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return COMMANDS[command].split()

    return make


def _config(place: str, value: Any, command: str) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "run/config.json"
        content = json.loads(path.read_text())
        inner = content
        *sections, name = place.split(".")
        for section in sections:
            inner = inner[section]
        inner[name] = value
        path.write_text(json.dumps(content))
        return COMMANDS[command].split()

    return make


def _weights(change: Callable[[Any], dict[str, torch.Tensor]], signed: bool, command: str) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "run/model.safetensors"
        tensors = change(read_tensors(path)[0])
        write_tensors(path, tensors) if signed else save_file(tensors, path)
        return COMMANDS[command].split()

    return make


def _raw_weights(
    content: Callable[[bytes], bytes], command: str = "evaluate", file: str = "model.safetensors"
) -> Make:
    def make(folder: Path) -> list[str]:
        path = folder / "run" / file
        path.write_bytes(content(path.read_bytes()))
        return COMMANDS[command].split()

    return make


def _as_folder(name: str, command: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "run" / name).unlink()
        (folder / "run" / name).mkdir()
        return COMMANDS[command].split()

    return make


def _long_header(text: str) -> Callable[[bytes], bytes]:
    return lambda _: struct.pack("<Q", len(text)) + text.encode()


_RAW: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "noise": lambda _: np.random.default_rng(3).bytes(900),
    "cut": lambda content: content[: len(content) // 2],
    "cut in the header": lambda content: content[:50],
    "header longer than memory": lambda _: struct.pack("<Q", 2**62) + b"{}",
    "header that is a list": _long_header("[]"),
    "deep header": _long_header("[" * 100_000),
    "header of 5,000 digits": _long_header(
        f'{{"a": {{"dtype": "F32", "shape": [{_LONG}], "data_offsets": [0, 4]}}}}'
    ),
    "shape beyond int64": _long_header(
        '{"a": {"dtype": "F32", "shape": [99999999999], "data_offsets": [0, 4]}}'
    ),
    "unknown type": _long_header('{"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}'),
    "a pickle": lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


def cases(flips: int) -> Iterator[Case]:
    """All of this module, with so many random changes of each whole file."""
    for name, content in JSON.items():
        for file, commands in {
            "config.json": ("evaluate", "train", "resume"),
            "environment.json": ("evaluate",),
            "metrics.json": ("loss", "resume", "evaluate"),
        }.items():
            for command in commands:
                yield Case(file, f"{name}, {command}", _file(file, content, command))
    for place, value in CONFIGS:
        shown = str(value)[:20].encode("unicode_escape").decode()
        for command in ("evaluate", "resume"):
            yield Case("config.json", f"{place} = {shown}, {command}", _config(place, value, command))
    for name, content in HISTORIES.items():
        for command in ("loss", "resume"):
            yield Case("history.jsonl", f"{name}, {command}", _file("history.jsonl", content, command))
    for name, change in _TENSORS.items():
        for signed in (True, False):
            for command in ("evaluate", "sample"):
                word = "signed" if signed else "unsigned"
                yield Case("weights", f"{name}, {word}, {command}", _weights(change, signed, command))
    for name, raw in _RAW.items():
        yield Case("weights", name, _raw_weights(raw))
        for which, command in (("last", "resume"), ("best", "evaluate")):
            yield Case(
                "checkpoints",
                f"{name}, {which}",
                _raw_weights(raw, command, f"checkpoints/{which}/state.safetensors"),
            )
    for name in ("config.json", "history.jsonl", "metrics.json", "environment.json", "model.safetensors"):
        for command in ("evaluate", "loss"):
            yield Case("places", f"{name} is a folder, {command}", _as_folder(name, command))
    for number in range(flips):
        for file, command in (
            ("config.json", "evaluate"),
            ("history.jsonl", "loss"),
            ("model.safetensors", "evaluate"),
            ("environment.json", "evaluate"),
        ):
            change = lambda content, number=number: changed(content, number)  # noqa: E731
            yield Case(file, f"change {number}", _raw_weights(change, command, file))


def copy_run(source: Path, folder: Path) -> None:
    """Put the run where cases expect it."""
    shutil.copytree(source, folder / "run")
    shutil.copy(source.parent / "x.npy", folder)
