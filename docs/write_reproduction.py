"""Write the tables of docs/reproduction.md from the records: ``python docs/write_reproduction.py``."""

from __future__ import annotations

from pathlib import Path

from elboroom.reproduction import ENTRIES
from elboroom.reproduction.results import read_records, settings, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
RECORDS = ROOT / "benchmarks" / "results" / "reproduction"
END = "<!-- end of table -->"
SLOW = {name: entry for name, entry in ENTRIES.items() if not name.endswith("-fast")}


def written(page: str) -> str:
    """Return the page with the tables of the present entries and records."""
    for title, content in (("settings", settings(SLOW)), ("results", table(ENTRIES, read_records(RECORDS)))):
        start = page.index("\n", page.index(f"<!-- table of {title}")) + 1
        page = page[:start] + f"\n{content}\n\n" + page[page.index(END, start) :]
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
