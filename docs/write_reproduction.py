"""Write the table of docs/reproduction.md from the records: ``python docs/write_reproduction.py``."""

from __future__ import annotations

from pathlib import Path

from elboroom.reproduction import ENTRIES
from elboroom.reproduction.results import read_records, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
RECORDS = ROOT / "benchmarks" / "results" / "reproduction"
END = "<!-- end of table -->"


def written(page: str) -> str:
    """Return the page with the table of the present records."""
    start = page.index("<!-- table:")
    start = page.index("\n", start) + 1
    return page[:start] + f"\n{table(ENTRIES, read_records(RECORDS))}\n\n" + page[page.index(END) :]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
