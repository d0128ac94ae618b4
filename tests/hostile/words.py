"""Hostile command lines, TOML files and arguments of the Python API."""

# ruff: noqa: E501 - tables of inputs, one a line

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import elboroom

from .case import Case, Make

_LONG = "9" * 5000
NUMBERS = {
    "5,000 digits": _LONG,
    "2^64": str(2**64),
    "-2^64": str(-(2**64)),
    "2^63": str(2**63),
    "1e999": "1e999",
    "nan": "nan",
    "-inf": "-inf",
    "0": "0",
    "a half": "0.5",
    "empty": "",
    "a blank": " ",
    "nul": "\0",
    "escape sequence": "\x1b[31mred",
    "two lines": "1\n2",
    "Arabic digits": "٣",
    "superscript": "²",
    "9,000 letters": "x" * 9000,
    "markup": "[/x]",
}
# Where numbers stand. Those of memory (--n, --hidden) are not given numbers that would fit and fill it.
OPTIONS = {
    "train x.npy --dry-run --seed {}": None,
    "train x.npy --dry-run --latent-dim {}": None,
    "train x.npy --dry-run --hidden {}": None,
    "train x.npy --dry-run --beta {}": None,
    "train x.npy --dry-run --lr {}": None,
    "train x.npy --dry-run --data.split-seed {}": None,
    "train x.npy --dry-run --batch-size {}": None,
    "train x.npy --dry-run --validation {}": None,
    "train x.npy --dry-run --data.pixel-scale {}": None,
    "evaluate run --num-samples 0 --limit {}": None,
    "evaluate run --num-samples 0 --limit 2 --seed {}": None,
    "sample run --n {} --out s.npy": None,
    "sample run --n 2 --out s.npy --seed {}": None,
    "traverse run --dims {} --out t.png": ("0", "nul"),
    "traverse run --span {} --out t.png": ("0",),
    "traverse run --seed {} --out t.png": ("0",),
    "reconstruct run :{} --out r.png": ("0",),
    "reconstruct run x.npy:{} --out r.png": ("0",),
    "resume run --epochs {}": None,
    "neighbours run :0 --n {} --out n.png": ("0",),
    "morph run :0 :1 --steps {} --out m.gif": None,
}
TEXTS = {
    "nul": "a\0b",
    "escape sequence": "\x1b[31mred",
    "two lines": "a\nb",
    "9,000 letters": "x" * 9000,
    "markup": "[/x]",
    "surrogates": "\udcff",
    "empty": "",
    "a blank": " ",
    "a folder": ".",
    "a user": "~nobody-of-this-name/x",
    "a pattern": "*{1..3}[",
    "a huge pattern": "x-{0..99999999999999999999}.npy",
    "a pattern of 5,000 digits": f"x-{{0..{_LONG}}}.npy",
    "patterns of patterns": "{a,b}" * 40 + ".npy",
    "a device": "/dev/null",
}
PLACES = [
    "{}",
    "data {}",
    "data show {}",
    "train {} --dry-run",
    "train x.npy --dry-run --out {}",
    "train x.npy --dry-run --config {}",
    "train x.npy --dry-run --preset {}",
    "train x.npy --dry-run --recipe {}",
    "train x.npy --dry-run --device {}",
    "train x.npy --dry-run --optimizer {}",
    "train x.npy --dry-run --optimizer-options {}",
    "train x.npy --dry-run --likelihood {}",
    "train x.npy --dry-run --condition vectors --condition-file {}",
    "train x.npy --dry-run {}",
    "train x.npy --dry-run --{}",
    "evaluate {}",
    "evaluate run --num-samples 0 --data {}",
    "evaluate run --num-samples 0 --limit 2 --device {}",
    "embed run x.npy --out {}",
    "embed run {} --out z.npy",
    "sample run --n 2 --label {} --out s.npy",
    "sample run --n 2 --out {}",
    "reconstruct run {} --out r.png",
    "neighbours run {} --out n.png",
    "morph run {} :0 --out m.gif",
    "figures run --only {} --out f",
    "figures run --only loss --out {}",
    "recipes {}",
    "compare x.npy --recipes {} --dry-run",
    "data faces {} --out faces",
    "data import-haskell {} --out imported",
    "report {}",
]
TOMLS: dict[str, str | bytes] = {
    "empty": "",
    "junk": "[[[",
    "deep": "a = " + "[" * 100_000,
    "deep tables": "a = " + "{a = " * 20_000,
    "long dotted key": ".".join(["a"] * 20_000) + " = 1",
    "a number for a section": "model = 3",
    "a list for a section": "[[model]]\nhidden = [3]",
    "5,000 digits": f"[training]\nseed = {_LONG}",
    "4,000 digits": f"[training]\nseed = {'9' * 4000}",
    "seed 2^64": f"[training]\nseed = {2**64}",
    "inf": "[optimizer]\nlr = inf",
    "nan": "[objective]\nbeta = nan",
    "a date": "[training]\nepochs = 2020-01-01",
    "text": "[training]\nepochs = 'x'",
    "long text": f"[training]\nepochs = '{'x' * 9000}'",
    "control characters": '[training]\nepochs = "\\u001b[31m"',
    "an unknown key of control characters": '[training]\n"\\u001b[31m" = 1',
    "a long unknown key": f"[training]\n{'x' * 9000} = 1",
    "a long unknown section": f"[{'x' * 9000}]",
    "a long list": f"[model]\nhidden = {['a'] * 5000}",
    "binary": b"\xff\xfe\x00",
    "UTF-16": "[training]".encode("utf-16"),
    "nul bytes": bytes(9),
    "a list in options": "[optimizer]\noptimizer_options = [1]",
    "deep options": "[optimizer.optimizer_options]\na = " + "[" * 90 + "]" * 90,
    "hidden beyond memory": f"[model]\nhidden = [{2**45}]",
    "hidden beyond int64": f"[model]\nhidden = [{2**70}]",
}


def _line(words: list[str]) -> Make:
    return lambda _: words


def _toml(content: str | bytes) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "c.toml").write_bytes(content.encode() if isinstance(content, str) else content)
        return ["train", "x.npy", "--dry-run", "--config", "c.toml"]

    return make


def command_cases(every: int) -> Iterator[Case]:
    """Command lines; of the many combinations each ``every``-th."""
    found = [
        Case("numbers", f"{line.format('')}{name}", _line([word.format(value) for word in line.split()]))
        for line, wanted in OPTIONS.items()
        for name, value in NUMBERS.items()
        if wanted is None or name not in wanted
    ]
    found += [
        Case("texts", f"{line.format('')}: {name}", _line([word.format(value) for word in line.split()]))
        for line in PLACES
        for name, value in TEXTS.items()
    ]
    yield from found[::every]
    for name, content in TOMLS.items():
        yield Case("TOML", name, _toml(content))


_IMAGE = np.zeros((2, 4, 4, 1), np.float32)
SHAPES: list[Any] = [
    (), (0,), (-1,), (2**40, 2**40), (10**30,), (4, 4), (4, 4, 4, 4, 4), "x", ("x",), 4, 4.5, (4.5,), None,
    (3, 32, 32), [4], (True,), {"a": 1}, np.array([4, 4, 1]), (float("nan"),),
]  # fmt: skip
INPUTS: dict[str, Any] = {
    "None": None, "text": "x", "a number": 3, "a list": [1, 2], "a dict": {}, "a scalar": np.array(3.0),
    "objects": np.array([{}, set()]), "texts": np.array(["a"]), "complex": np.zeros((2, 4), complex),
    "another shape": np.zeros((2, 5)), "one example": np.zeros(4, np.float32), "five axes": np.zeros((1,) * 5),
    "integers": np.zeros((2, 4), np.int64), "nothing": np.zeros((0, 4)), "ragged": [[1], [1, 2]],
    "dates": np.zeros((2, 4), "datetime64[s]"), "a generator": (i for i in range(3)),
}  # fmt: skip
COUNTS: list[Any] = [-1, 2**63, 10**30, 1.5, "x", None, float("nan")]
FIELDS: list[tuple[str, Any]] = [
    ("latent_dim", 0), ("latent_dim", "x"), ("latent_dim", 2**50), ("latent_dim", 10**30), ("hidden", 5),
    ("hidden", "x"), ("hidden", [2**45]), ("hidden", [None]), ("likelihood", "x"), ("likelihood", None),
    ("likelihood_scale", float("nan")), ("likelihood_scale", -1), ("scale", 0), ("unknown", 1), ("activation", 7),
    ("condition", "labels"), ("code_grid", (2**40, 2**40)), ("levels", 10**9), ("condition_dim", 10**30),
]  # fmt: skip
TRAINING: list[tuple[str, Any]] = [
    ("epochs", 0), ("epochs", "x"), ("epochs", 10**30), ("seed", -1), ("seed", 2**64), ("seed", "x"),
    ("batch_size", 0), ("batch_size", None), ("lr", float("nan")), ("lr", "x"), ("beta", -1), ("beta", float("inf")),
    ("device", 7), ("device", "\0"), ("unknown", 1), ("optimizer", "x"), ("optimizer_options", 3), ("out", "a\0b"),
    ("validation", 2), ("split_seed", 2**64),
]  # fmt: skip


def python_cases() -> Iterator[Case]:
    """Calls of the Python API."""

    def call(function: Callable[[], Any]) -> Make:
        return lambda _: function

    def small() -> Any:
        return elboroom.VAE.build(shape=(4,), hidden=[3], likelihood="gaussian")

    for shape in SHAPES:
        yield Case(
            "VAE.build", f"shape = {str(shape)[:30]}", call(lambda s=shape: elboroom.VAE.build(shape=s))
        )  # type: ignore[misc]
    for name, value in FIELDS:

        def build(name: str = name, value: Any = value) -> Any:
            return elboroom.VAE.build(**{"shape": (4,), name: value})

        yield Case("VAE.build", f"{name} = {str(value)[:30]}", call(build))
    for name, value in INPUTS.items():
        yield Case("load_data", name, call(lambda v=value: elboroom.load_data(v)))  # type: ignore[misc]
        for method in ("embed", "encode", "reconstruct", "elbo", "decode"):
            if (method, name) not in {("elbo", "nothing"), ("embed", "nothing")}:
                yield Case(f"VAE.{method}", name, call(lambda m=method, v=value: getattr(small(), m)(v)))  # type: ignore[misc]
        yield Case("fit", name, call(lambda v=value: elboroom.fit(small(), v, epochs=1, quiet=True)))  # type: ignore[misc]
        yield Case("load", name, call(lambda v=value: elboroom.load(v)))  # type: ignore[misc]
    for count in COUNTS:
        yield Case("VAE.sample", str(count)[:30], call(lambda c=count: small().sample(c)))  # type: ignore[misc]
        yield Case(
            "VAE.nll", str(count)[:30], call(lambda c=count: small().nll(np.zeros((2, 4), np.float32), c))
        )  # type: ignore[misc]
    for name, value in TRAINING:

        def train(name: str = name, value: Any = value) -> Any:
            torch.manual_seed(0)
            options = {"epochs": 1, "quiet": True, name: value}
            return elboroom.fit(small(), np.random.default_rng(0).random((20, 4)), **options)

        yield Case("fit", f"{name} = {str(value)[:30]}", call(train))
    for size in (0, -1, 10**30, "x", (1, 2, 3), 1.5, True):
        yield Case("load_data", f"size = {size}", call(lambda s=size: elboroom.load_data("digits", size=s)))  # type: ignore[misc]
