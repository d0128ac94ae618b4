"""Medians, spreads, ratios of medians, shares of the roofline, and targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.engine.cases import CONV, SMALL_CODE, mlp_name

OURS = "elboroom"
ROOFS = {"elboroom": "products", "elboroom-fp32": "products-fp32"}
_NLL, _EMBED = f"nll {SMALL_CODE.title}", f"embed {SMALL_CODE.title}"

# (case, other program, wanted ratio of images/s), on the CPU.
RATIOS = [
    *((mlp_name(SMALL_CODE, b), "pythae", x) for b, x in ((32, 2.7), (100, 2.6), (400, 2.5))),
    *((mlp_name(SMALL_CODE, b), "jax", x) for b, x in ((32, 1.0), (100, 1.2), (400, 1.5))),
    (f"{CONV.title} B=64", "pythae", 1.8),
    (_NLL, "pythae", 20.0),
    (_EMBED, "pythae", 5.0),
]
SHARE = (mlp_name(SMALL_CODE, 400), 0.75)
MEGABYTES = 400.0
GPU_EPOCH_SECONDS = 0.040


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Return the median, minimum and maximum of the rounds, and the rounds themselves.

    Examples
    --------
    >>> spread([3.0, 1.0, 2.0, 10.0])
    {'median': 2.5, 'min': 1.0, 'max': 10.0, 'rounds': [3.0, 1.0, 2.0, 10.0]}
    """
    rounds = list(values)
    return {"median": statistics.median(rounds), "min": min(rounds), "max": max(rounds), "rounds": rounds}


def comparisons(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ratios of median images/s for each device and case.

    Returns
    -------
    list of dict
        ``device``, ``case``; ``times_as_fast``: other program → elboroom's images/s over its own; and for
        training and inference of elboroom beside the roofline ``share_of_products``: program → time of the
        matrix products alone over the program's, and ``share_of_products_and_optimizer`` with the
        optimiser's bytes at copying speed added to them.
    """
    found = []
    for device, case in dict.fromkeys((row["device"], row["case"]) for row in rows):
        by = {
            row["program"]: row
            for row in rows
            if (row["device"], row["case"]) == (device, case) and "absent" not in row
        }
        entry: dict[str, Any] = {"device": device, "case": case, "times_as_fast": {}}
        if OURS in by:
            rivals = [name for name in by if name != OURS and name not in ROOFS.values()]
            entry["times_as_fast"] = {name: speed_of(by[OURS]) / speed_of(by[name]) for name in rivals}
        shares, both = {}, {}
        for program, roof in ROOFS.items():
            if program in by and roof in by:
                shares[program] = speed_of(by[program]) / speed_of(by[roof])
                with_optimizer = by[roof].get("images_per_second_with_optimizer")
                if with_optimizer:
                    both[program] = speed_of(by[program]) / with_optimizer["median"]
        entry |= {"share_of_products": shares, "share_of_products_and_optimizer": both}
        found.append(entry)
    return found


def speed_of(row: dict[str, Any]) -> float:
    """Return median images/s."""
    return float(row["images_per_second"]["median"])


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare targets with measurements; ``met`` is None where nothing was measured.

    Parameters
    ----------
    result : dict
        With ``rows``, ``comparisons`` and perhaps ``start``.
    """
    compared = {(entry["device"], entry["case"]): entry for entry in result["comparisons"]}

    def entry_of(case: str) -> dict[str, Any]:
        return compared.get(("cpu", case), {})

    found = [
        _target(f"{case}: times {rival}", wanted, entry_of(case).get("times_as_fast", {}).get(rival), "×")
        for case, rival, wanted in RATIOS
    ]
    case, wanted = SHARE
    share = entry_of(case).get("share_of_products", {}).get(OURS)
    found.append(_target(f"{case}: share of the products' own speed", wanted, share, ""))
    memory = result.get("start", {}).get("memory_over_torch", {}).get(OURS)
    found.append(_target("memory of MNIST training over import torch", MEGABYTES, memory, " MB", most=True))
    epochs = [
        row["seconds"]
        for row in result["rows"]
        if row["device"] == "cuda"
        and row["program"] == OURS
        and row["case"].startswith(SMALL_CODE.title)
        and "absent" not in row
    ]
    if epochs:
        title = "GPU: MNIST epoch, fastest batch size"
        found.append(_target(title, GPU_EPOCH_SECONDS, min(epochs), " s", most=True))
    return found


def _target(what: str, wanted: float, got: float | None, unit: str, *, most: bool = False) -> dict[str, Any]:
    met = None if got is None else (got <= wanted if most else got >= wanted)
    return {"what": what, "wanted": wanted, "at_most": most, "measured": got, "unit": unit, "met": met}
