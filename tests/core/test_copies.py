"""The package holds few near-copies, and the measure finds those that are planted."""

from __future__ import annotations

from pathlib import Path

import pytest

import elboroom

from . import near_copies

# Of code lines. What there is, about 3 %, are mostly signatures and the heads of dataclasses; a copied
# function of 30 lines adds 0.6 %. To see what has grown: python tests/core/near_copies.py
CEILING = 0.04

ORIGINAL = '''
def fit_line(xs, ys):
    """Slope and offset."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = 0.0
    for x, y in zip(xs, ys):
        above += (x - mean_x) * (y - mean_y)
    slope = above / sum((x - mean_x) ** 2 for x in xs)
    return slope, f"{mean_y} - {slope} {mean_x}"
'''
RENAMED = '''
import math


def regress(width, height):
    # How tall is it?
    centre_w, centre_h = sum(width) / len(width), sum(height) / len(height)

    total = 7.5  # more
    for w, h in zip(width, height):
        total += (w - centre_w) * (h - centre_h)
    """Said here."""
    rise = total / sum((w - centre_w) ** 3 for w in width)
    return rise, f"{centre_h}"
'''


def measured(*sources: str) -> tuple[list[tuple[int, int, int]], float]:
    """Of each pair how long it is and in which lines it begins, and the share of code lines."""
    files = {f"{i}.py": near_copies.code_lines(f"{i}.py", source) for i, source in enumerate(sources)}
    found = near_copies.pairs(files)
    starts = [(len(pair.one), pair.one[0].number, pair.other[0].number) for pair in found]
    return starts, near_copies.share(files, found)


def test_the_package_holds_few_near_copies() -> None:
    root = Path(elboroom.__file__).parent
    files = near_copies.read(root)
    found = near_copies.pairs(files)
    worst = "\n".join(map(str, found))
    assert near_copies.share(files, found) <= CEILING, f"near-copies, worst first:\n{worst}"


def test_a_renamed_copy_is_found_whole() -> None:
    """Names, numbers, strings, comments, blank lines and docstrings differ; all seven lines are alike."""
    assert measured(ORIGINAL, RENAMED) == ([(7, 2, 5)], 1.0)


def test_a_copy_in_the_same_file_is_found_among_other_lines() -> None:
    other = "".join(f"a{i} = b{i} {'+-*/'[i % 4]} (c, {'d, ' * i}e)\n" for i in range(14))
    assert measured(other + ORIGINAL + other[: other.index("a5")] + RENAMED) == ([(7, 16, 33)], 14 / 33)


def test_three_copies_are_three_pairs_and_their_lines_count_once() -> None:
    assert measured(ORIGINAL, RENAMED, ORIGINAL) == ([(7, 2, 5), (7, 5, 2), (7, 2, 2)], 1.0)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("an operator in the middle", ("(x - mean_x) * (y", "(x - mean_x) + (y")),
        ("a line in between", ("    above = 0.0\n", "    above = 0.0\n    print(above)\n")),
        ("a keyword", ("for x, y in zip(xs, ys):\n        above", "while zip(xs, ys):\n        above")),
        ("another call", ('f"{mean_y} - {slope} {mean_x}"', "int(mean_y)")),
    ],
)
def test_other_code_is_no_copy_if_fewer_lines_than_a_window_agree(what: str, change: tuple[str, str]) -> None:
    changed = ORIGINAL.replace(*change)
    assert changed != ORIGINAL
    expected = [(6, 2, 2)] if what == "another call" else []  # the last of seven lines
    assert measured(ORIGINAL, changed)[0] == expected


def test_enumerations_are_no_copies_unless_asked_for() -> None:
    fields = "class Sizes:\n" + "".join(f"    width_{i}: int = {i}\n" for i in range(20))
    assert measured(fields) == ([], 0.0)
    files = {"0.py": near_copies.code_lines("0.py", fields)}
    assert near_copies.share(files, near_copies.pairs(files, forms=1)) == 20 / 21


def test_imports_docstrings_exports_and_lone_brackets_are_no_code() -> None:
    lines = ['"Module."', "from a import (", "    b,", ")", "__all__ = [", '    "d",', "]", "", "# Why."]
    source = "\n".join([*lines, "e = f(", "    g,", ")", "import h", ""])
    assert [line.number for line in near_copies.code_lines("0.py", source)] == [10, 11]


def test_the_command_prints_the_worst_first_and_the_share(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(ORIGINAL, "utf-8")
    (tmp_path / "b.py").write_text(RENAMED + ORIGINAL, "utf-8")
    *lines, share, everything = near_copies.report(tmp_path).splitlines()
    assert lines[0].split() == ["7", "lines", f"{tmp_path / 'a.py'}:2-9", f"{tmp_path / 'b.py'}:5-14"]
    assert share == "100.00% of 21 code lines in 2 files, in 3 pairs"
    assert everything == "100.00% with mere enumerations"
