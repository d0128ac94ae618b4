"""The records in a run's metrics.json: its main numbers, and those of other data or of fewer examples."""

from __future__ import annotations

from typing import Any

from elboroom.runs.run import Run

_IDENTITY = ("source", "split", "limit", "nll_num_samples", "seed", "precision")
_OTHERS = "others"

Record = dict[str, Any]


def merged(kept: Record, record: Record) -> Record:
    """Add the record of an evaluation to those of a run.

    Parameters
    ----------
    kept : dict
        Content of metrics.json: the main record, and under "others" a list of further ones.
    record : dict
        The new numbers, with ``split``, ``limit`` (None for all examples) and ``source`` (None for the run's
        own data). It becomes the main record if it covers all examples of the run's own data, has the main
        record's split, and at least as many importance samples. Otherwise it joins the others, and replaces
        one with the same data, split, limit, estimator, samples, seed and precision.

    Examples
    --------
    >>> full = merged({"split": "test", "elbo": -80.0}, {"split": "test", "limit": None, "elbo": -81.0})
    >>> merged(full, {"split": "test", "limit": 10, "elbo": -70.0})["elbo"]
    -81.0
    """
    main = {name: value for name, value in kept.items() if name != _OTHERS}
    others = [other for other in kept.get(_OTHERS, []) if _key(other) != _key(record)]
    whole = record.get("source") is None and record.get("limit") is None
    if whole and record["split"] == main.get("split", record["split"]) and _samples(record) >= _samples(main):
        main = record
    else:
        others.append(record)
    return {**main, _OTHERS: others} if others else main


def keep(run: Run, record: Record) -> None:
    """Add an evaluation to a run's metrics.json.

    Raises
    ------
    FailureError
        If the folder is read-only, or the disk is full.
    """
    run.write_metrics(merged(run.metrics, record))


def _key(record: Record) -> tuple[Any, ...]:
    estimator = record.get("nll_estimator") or "importance"  # records of before had no other
    return estimator, *(record.get(name) for name in _IDENTITY)


def _samples(record: Record) -> int:
    return record.get("nll_num_samples") or 0
