"""What is odd about a column whose kind was inferred, and a kind or likelihood that may fit it better."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from elboroom.config.columns import WITH_CATEGORIES, Column, ColumnKind
from elboroom.data.rows import Array
from elboroom.data.table_cells import Cells, number_text
from elboroom.errors import counted, shortened, some

BOOLEANS = {("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"), ("off", "on")}
"""Pairs of words that make a column boolean, the one that counts as 0 first."""
WRITTEN_NUMBER = re.compile(
    r"\(?[$€£]?\s*[+-]?\d[\d.,' \u00a0\u202f]*\s*(?P<unit>[%‰$€£]|[a-zA-Zµ°]{1,3}\d?|)\)?"
)
"""A number with separators of thousands, a currency, a unit, a percent sign or brackets, in words."""
_TIMES = (
    (re.compile(r"\d{1,2}:\d\d"), "%H:%M"),
    (re.compile(r"\d{1,2}:\d\d:\d\d"), "%H:%M:%S"),
    (re.compile(r"(1[89]|20)\d\d-\d{1,2}"), "%Y-%m"),
    (re.compile(r"(1[89]|20)\d\d/\d{1,2}"), "%Y/%m"),
)
_NINES = re.compile(r"-?99+|-9")
_FEWEST_SHAPED = 50  # cells from which on the shape of a distribution is judged
_HEAVY = 8.0  # kurtosis; 3 is that of a normal, 9 of an exponential distribution
_TWO_PEAKS = 0.65
_SHOWN = 5


def hints(cells: Cells, column: Column) -> list[str]:
    """Notes on a column whose kind was inferred.

    Parameters
    ----------
    cells : Cells
        As the source has them.
    column : Column
        What they were found to be.
    """
    if column.kind in WITH_CATEGORIES:
        return [*_of_absent(cells, column), *_of_names(cells, column)]
    if column.kind == "datetime":
        return _of_zones(cells, column)
    if column.kind not in ("real", "positive", "count"):
        return []
    known = cells.numbers[cells.is_number]
    if not np.isfinite(known).all():
        return []  # refused where it is encoded
    return [*_of_thousands(cells), *_of_codes(column, known), *_of_shape(column, known)]


def times_format(words: Sequence[str]) -> str:
    """The format of words that are all times of day, or months of years; empty if they are not.

    Examples
    --------
    >>> times_format(["08:30", "17:05"]), times_format(["2020-11", "2021-02"]), times_format(["1:0"])
    ('%H:%M', '%Y-%m', '')
    """
    return next((form for like, form in _TIMES if words and all(map(like.fullmatch, words))), "")


def are_written_numbers(words: Sequence[str], count: int) -> bool:
    """Whether most of ``count`` different words are numbers as text, with at most two units among them."""
    found = [match for word in words if (match := WRITTEN_NUMBER.fullmatch(word))]
    return len(found) > 0.9 * count and len({match["unit"] for match in found} - {""}) <= 2


def _of_absent(cells: Cells, column: Column) -> list[str]:
    """Words for missing cells may be categories: NA is Namibia, too."""
    absent = [word for word in cells.absent if any(map(str.isalnum, word))]
    if not absent or column.kind == "boolean":
        return []
    levels = "|".join((*column.categories, *absent)) if len(column.categories) <= _SHOWN else f"…|{absent[0]}"
    return [
        f"column {shortened(column.name)}: cells that say {some([*map(shortened, absent)])} are taken as "
        f"missing; if that is a category, give kinds='{column.name}={column.kind}:{levels}'"
    ]


def _of_names(cells: Cells, column: Column) -> list[str]:
    """Categories that may be the same, or are no categories."""
    names, name = column.categories, shortened(column.name)
    notes = []
    for bare, what in ((str.lower, "capitals"), (_plain, "spaces or invisible characters")):
        before = {str.lower(each) for each in names} if bare is _plain else set(names)
        alike = len(before) - len({bare(each) for each in before})
        if alike:
            verb = "differs" if alike == 1 else "differ"
            which = counted(alike, "category", "categories")
            notes.append(f"warning: {which} of column {name} {verb} from others in {what} only")
    lower = {each.lower() for each in names}
    if len(lower) > 2 and lower <= {word for pair in BOOLEANS for word in pair}:
        notes.append(
            f"warning: column {name} spells yes and no in several ways, taken for {len(names)} categories"
        )
    if column.kind != "category" or cells.categories:
        return notes
    form = times_format(names)
    if form:
        notes.append(
            f"warning: column {name} holds times such as {shortened(names[0])}, and is taken for categories; "
            f"kinds='{column.name}=datetime:{form}' takes them for points in time"
        )
    elif are_written_numbers(names, len(names)) and not all(map(str.isdigit, names)):
        notes.append(
            f"warning: column {name} holds numbers as text, such as {shortened(names[0])}, and is taken for "
            "categories; write them as plain numbers if they are quantities"
        )
    return notes


def _plain(word: str) -> str:
    """A word in small letters without invisible characters, and with single blanks.

    Examples
    --------
    >>> _plain("New\u00a0 York\u200b")
    'new york'
    """
    seen = "".join(each for each in word if unicodedata.category(each) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen).split()).lower()


def _of_zones(cells: Cells, column: Column) -> list[str]:
    """Times of several zones, of which UTC alone is kept."""
    if "%z" not in column.date_format:
        return []
    zones = {found[0] for word in cells.words if (found := re.search(r"(Z|[+-]\d\d:?\d\d)$", word))}
    if len(zones) < 2:
        return []
    return [
        f"column {shortened(column.name)} has times of {len(zones)} offsets from UTC, "
        f"{some(sorted(zones))}; they are brought to UTC, and written so"
    ]


def _of_thousands(cells: Cells) -> list[str]:
    if not cells.thousands:
        return []
    mark = "comma" if "," in cells.thousands else "point"
    plain = cells.thousands.replace(",", "").replace(".", "")
    return [
        f"warning: column {shortened(cells.name)}: all decimals, as in {cells.thousands}, have three digits; "
        f"if the {mark} separates thousands, write {plain}"
    ]


def _of_codes(column: Column, known: Array) -> list[str]:
    """Numbers that may be no quantities: marks of missing cells, and names of two groups."""
    name, different = shortened(column.name), np.unique(known)
    if len(different) == 2 and column.whole:
        both = " and ".join(map(number_text, different))
        return [
            f"column {name} has two values, {both}, and is taken for numbers; if they are names of groups, "
            f"give kinds='{column.name}=category'"
        ]
    if len(different) < 4:
        return []
    notes = []
    for mark, near, rest in (
        (different[0], different[1], different[-1] - different[1]),
        (different[-1], different[-2], different[-2] - different[0]),
    ):
        count = int((known == mark).sum())
        if count > 1 and abs(mark - near) > rest / 2 and _NINES.fullmatch(number_text(mark)):
            notes.append(
                f"warning: column {name}: {number_text(mark)} stands in {count:,} cells, far from all other "
                "numbers; if it marks missing cells, leave them empty"
            )
    return notes


def _of_shape(column: Column, known: Array) -> list[str]:
    """Offer another likelihood for numbers with heavy tails or two peaks."""
    kind: ColumnKind = column.kind
    values = np.log(known) if kind == "positive" else known
    if kind not in ("real", "positive") or len(known) < _FEWEST_SHAPED or not values.std() > 0:
        return []
    standard = (values - values.mean()) / values.std()
    skewness, kurtosis = float((standard**3).mean()), float((standard**4).mean())
    if kurtosis > _HEAVY:
        choices = ["student_t", "quantile"]
        what = "has heavy tails"
    elif (skewness**2 + 1) / kurtosis > _TWO_PEAKS:  # Sarle's coefficient; 0.56 if all values are as likely
        choices = ["mixture", "quantile"]
        what = "has two peaks or more"
    else:
        return []
    either = " or ".join(f"kinds='{column.name}={kind}/{choice}'" for choice in choices)
    return [f"column {shortened(column.name)} {what}: {either} may fit better"]
