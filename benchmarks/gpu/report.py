"""The results of a machine with a GPU as Markdown."""

from __future__ import annotations

from typing import Any


def markdown(result: dict[str, Any]) -> str:
    """Format what ``python -m benchmarks.gpu`` has found so far."""
    about = (
        f"{result['gpu']}, torch {result['torch']}, CUDA {result['cuda']}, {result['machine']['date'][:10]}"
    )
    lines = ["# On a GPU", "", f"{about}; {result['seconds']:.0f} s in all.", ""]
    lines += ["| part | result | seconds |", "|---|---|---:|"]
    for name, part in result["parts"].items():
        why = "passed" if part["ok"] else part.get("why") or f"failed with exit code {part['exit_code']}"
        lines.append(f"| {name} | {why} | {part['seconds']:.0f} |")
    for name, part in result["parts"].items():
        if name in _TABLES and part["result"] is not None:
            lines += ["", *_TABLES[name](part["result"])]
        if part.get("failed"):
            lines += ["", f"Failed in {name}:", "", *(f"- `{test}`" for test in part["failed"])]
        if not part["ok"] or name == "tests":
            lines += ["", f"Last lines of {name}:", "", "```", *part.get("last_lines", []), "```"]
    return "\n".join(lines) + "\n"


def _recipes(found: dict[str, Any]) -> list[str]:
    rows = found["rows"]
    lines = [f"## The step as a graph: {len(rows)} of {found['wanted']} recipes", ""]
    lines += [
        "| recipe | step by step, µs | graph, µs | times | difference | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, row in rows.items():
        if "error" in row:
            lines.append(f"| {name} | – | – | – | – | {_cell(row['error'])} |")
            continue
        times = row["eager"] / row["captured"]
        notes = [] if row["ok"] else ["**failed**"]
        notes += [f"no graph: {row['reason']}"] if row["reason"] else []
        notes += (
            [f"differs from itself by {row['difference_of_itself']:.0e}"]
            if "difference_of_itself" in row
            else []
        )
        numbers = f"{row['eager']:,.0f} | {row['captured']:,.0f} | {times:.1f} | {row['difference']:.0e}"
        lines.append(f"| {name} | {numbers} | {_cell('; '.join(notes))} |")
    return lines


def _evaluation(found: dict[str, Any]) -> list[str]:
    of = found["of"]
    lines = [
        f"## NLL of {of['images']:,} images with {of['num_samples']:,} samples, codes of {of['embedded']:,}",
        "",
        "| | ms |",
        "|---|---:|",
        *(f"| {way} | {value:,.1f} |" for way, value in found["milliseconds"].items()),
        "",
        "| model | what | relative difference |",
        "|---|---|---:|",
    ]
    for name, row in found["rows"].items():
        lines += [f"| {name} | {what} | {value:.0e} |" for what, value in row["differences"].items()]
    return lines


def _activations(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Recomputed activations",
        "",
        "| model | MB | share | ms | times |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        if isinstance(row, dict):
            pairs = [
                f"{row[what]['kept']:,.1f} / {row[what]['recomputed']:,.1f} | {row[f'times_{what}']:.2f}"
                for what in ("megabytes", "milliseconds")
            ]
            lines.append(f"| {name} | {' | '.join(pairs)} |")
    return lines


def _engine(found: dict[str, Any]) -> list[str]:
    lines = ["## Beside other programs", "", "| case | program | seconds | images/s |", "|---|---|---:|---:|"]
    for row in found["rows"]:
        if "absent" in row:
            numbers = f"– | {_cell(row['absent'])}"
        else:
            numbers = f"{row['seconds']:.3g} | {row['images_per_second']['median']:,.0f}"
        lines.append(f"| {row['case']} | {row['program']} | {numbers} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_TABLES = {"recipes": _recipes, "evaluation": _evaluation, "activations": _activations, "engine": _engine}
