"""What ``evaluate`` keeps: a run's main numbers, and beside them those of other data or of fewer examples."""

from __future__ import annotations

from typing import Any

from elboroom.runs.run import Run

_TELL_APART = ("source", "split", "limit", "nll_num_samples", "seed", "precision")
_OTHERS = "others"

Record = dict[str, Any]


def merged(kept: Record, record: Record) -> Record:
    """Add the numbers of an evaluation to those that a run has.

    Parameters
    ----------
    kept : dict
        Content of metrics.json: the main record, and under "others" a list of further ones.
    record : dict
        With ``split``, ``limit`` (None for all examples) and, of other data than the run's, their ``source``.
        It becomes the main record if it is of all examples of the run's own data, of the main record's part
        of them, with at least as many importance samples. Otherwise it joins the others, where it replaces
        one of the same data, part, limit, samples, seed and precision.

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
    return tuple(record.get(name) for name in _TELL_APART)


def _samples(record: Record) -> int:
    return record.get("nll_num_samples") or 0
