"""The model card: a README with metadata, filled from the run; what is not known is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from elboroom.errors import UsageError
from elboroom.hub.origin import Origin, sentence_of

_METRICS = {
    "elbo": "ELBO, nats per example",
    "distortion": "distortion, nats per example",
    "rate": "rate, nats per example",
    "nll": "negative log-likelihood, nats per example",
    "bits_per_dim": "bits per dimension",
    "active_units": "active latent dimensions",
}
_CAPTIONS = {
    "samples": "Samples",
    "manifold": "Decoded codes on a grid over the prior",
    "traversals": "One latent dimension at a time",
    "samples_by_class": "Samples of each class",
    "loss": "Loss during training",
}


def card_of(origin: Origin, name: str, license: str | None, pictures: Sequence[str]) -> str:
    """Write the card of a model that is loaded by ``name``; ``pictures`` are paths beside the card.

    Raises
    ------
    UsageError
        If ``license`` is no identifier.
    """
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", license):
        raise UsageError(
            f"license = {license!r}: must be an identifier of the hub, such as 'apache-2.0', 'mit', "
            "'cc-by-4.0' or 'other'"
        )
    title = name.removeprefix("hf://").rstrip("/").rpartition("/")[2] or "model"
    parts = [
        _metadata(origin, title, license),
        f"# {_text(title)}",
        sentence_of(origin.model),
        _usage(name),
        _data(origin),
        _results(origin),
        _training(origin),
        _pictures(pictures),
        _licence(license),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _metadata(origin: Origin, title: str, license: str | None) -> str:
    image = len(origin.model.shape or ()) == 3
    facts: dict[str, Any] = {
        "library_name": "elboroom",
        "tags": ["variational-autoencoder", "vae", "pytorch", "safetensors"],
    }
    if license is not None:
        facts["license"] = license
    if image:
        facts["pipeline_tag"] = "unconditional-image-generation"
    measured = _measured(origin)
    if measured:
        task = "unconditional-image-generation" if image else "density-estimation"
        facts["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {
                            "name": origin.data_name,
                            "type": re.sub(r"[^\w.-]+", "-", origin.data_name),
                            "split": str(origin.metrics.get("split", "test")),
                        },
                        "metrics": [
                            {"type": key, "name": _METRICS[key], "value": value} for key, value, _ in measured
                        ],
                    }
                ],
            }
        ]
    # JSON is YAML.
    lines = [
        f"{key}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}" for key, value in facts.items()
    ]
    return "\n".join(["---", *lines, "---"])


def _measured(origin: Origin) -> list[tuple[str, float, float | None]]:
    """Name, value and standard error of each number that was measured."""
    found = []
    for key in _METRICS:
        value, error = origin.metrics.get(key), origin.metrics.get(f"{key}_stderr")
        if isinstance(value, int | float):
            found.append((key, value, error if isinstance(error, int | float) else None))
    return found


def _usage(name: str) -> str:
    quoted = json.dumps(name, ensure_ascii=False, allow_nan=False)
    code = f"import elboroom\n\nvae = elboroom.load({quoted})\nx = vae.sample(16)"
    return f"## Use\n\n```console\npip install 'elboroom[hub]'\n```\n\n```python\n{code}\n```"


def _data(origin: Origin) -> str:
    if not origin.data:
        return ""
    digest = origin.environment.get("data_fingerprint")
    tail = f"\n\nSHA-256 of the examples and their split: `{_text(str(digest))}`." if digest else ""
    return f"## Data\n\n{_text(origin.data)}.{tail}"


def _results(origin: Origin) -> str:
    measured = _measured(origin)
    if not measured:
        return ""
    rows = []
    for key, value, error in measured:
        number = (
            str(value) if isinstance(value, int) else f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"
        )
        rows.append(f"| {_METRICS[key]} | {number} | {'' if error is None else f'± {error:.2g}'} |")
    count, part = origin.metrics.get("examples"), _text(str(origin.metrics.get("split", "test")))
    of = f" of {count:,} {part} examples" if isinstance(count, int) else f" of the {part} part"
    samples = origin.metrics.get("nll_num_samples")
    note = f"\n\nThe negative log-likelihood has {samples} importance samples per example." if samples else ""
    table = "\n".join(["| measure | value | standard error |", "|---|---:|---:|", *rows])
    return f"## Results\n\nMeans{of}:\n\n{table}{note}"


def _training(origin: Origin) -> str:
    lines = []
    if origin.command:
        lines.append(f"```console\n{origin.command}\n```")
    facts = []
    if origin.epochs:
        facts.append(f"{origin.epochs} epochs")
    for key, what in (("parameters", "parameters"), ("elboroom", "elboroom"), ("torch", "PyTorch")):
        value = origin.environment.get(key)
        if value is not None:
            facts.append(f"{value:,} {what}" if isinstance(value, int) else f"{what} {_text(str(value))}")
    if facts:
        lines.append(f"{', '.join(facts)}.")
    if origin.options:
        rows = [
            f"| `{name}` | `{_text(json.dumps(value, ensure_ascii=False, allow_nan=False))}` |"
            for name, value in origin.options.items()
        ]
        lines.append("\n".join(["| option | value |", "|---|---|", *rows]))
    return "\n\n".join(["## Training", *lines]) if lines else ""


def _pictures(pictures: Sequence[str]) -> str:
    if not pictures:
        return ""
    lines = []
    for path in pictures:
        caption = _CAPTIONS[path.rpartition("/")[2].removesuffix(".png")]
        lines.append(f"![{caption}]({path})\n\n{caption}.")
    return "\n\n".join(["## Pictures", *lines])


def _licence(license: str | None) -> str:
    what = "The author has not stated a licence." if license is None else f"Licence: {license}."
    return f"## Licence\n\n{what}"


def _text(text: str) -> str:
    """Escape text from data for Markdown, in one line."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split())).replace("\\_", "_")
