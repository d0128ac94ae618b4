"""How much of a package is near-copies: ``python tests/core/near_copies.py [FOLDER]``.

It prints each pair of passages that are alike, longest first, and the share of all code lines that lie in
one. Alike are passages of at least ``WINDOW`` code lines that agree, line by line, in everything but the
names, strings and numbers in them: a copy in which something was renamed or another value put in. Code lines
are those that are left without blank lines, comments, docstrings (and other strings that stand for
themselves), imports, ``__all__``, and lines of brackets alone.

Of tools at hand, pylint's symilar takes a renamed copy for new code, and PMD's CPD, which can look past
names, needs Java; a page of code with Python's own tokeniser does it without either.
"""

from __future__ import annotations

import ast
import io
import keyword
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

WINDOW = 6
# Windows of fewer forms of line only enumerate: `name: type` and `name: type = value`, six times.
FORMS = 3
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


@dataclass(frozen=True)
class Line:
    """A code line: where it stands, and what is left of it without names and values."""

    file: str
    number: int
    form: str


@dataclass(frozen=True)
class Pair:
    """Two passages alike; each from its first to its last code line."""

    one: tuple[Line, ...]
    other: tuple[Line, ...]

    def __str__(self) -> str:
        ends = [f"{lines[0].file}:{lines[0].number}-{lines[-1].number}" for lines in (self.one, self.other)]
        return f"{len(self.one):4} lines  {ends[0]}  {ends[1]}"


def code_lines(file: str, source: str) -> list[Line]:
    """Code lines of a source in order, an indentation deeper or shallower being no difference."""
    left_out = set(_lines_left_out(ast.parse(source)))
    forms: dict[int, list[str]] = defaultdict(list)
    depth = 0  # of f-strings, which are single tokens before Python 3.12 and many from then on
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if not depth and token.type not in _SILENT and token.start[0] not in left_out:
            forms[token.start[0]].append(_form(token, kind))
        depth += kind.endswith("STRING_START") - kind.endswith("STRING_END")
    return [
        Line(file, number, " ".join(parts))
        for number, parts in sorted(forms.items())
        if any(part[:1].isalnum() for part in parts)
    ]


def _form(token: tokenize.TokenInfo, kind: str) -> str:
    """Token without what a renamed copy may change: a name is x, a number 0, a string S."""
    if kind == "NAME":
        return token.string if keyword.iskeyword(token.string) else "x"
    if kind == "STRING" or kind.endswith("STRING_START"):
        return "S"
    return "0" if kind == "NUMBER" else token.string


def _lines_left_out(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        ):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def pairs(files: Mapping[str, list[Line]], forms: int = FORMS) -> list[Pair]:
    """All pairs of passages alike, each as long as it goes, longest first.

    Each window in them has at least ``forms`` forms of line.
    """
    lines = [line for of_file in files.values() for line in of_file]
    at: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for start in range(len(lines) - WINDOW + 1):
        window = lines[start : start + WINDOW]
        key = tuple(line.form for line in window)
        if window[0].file == window[-1].file and len(set(key)) >= forms:
            at[key].append(start)
    # Windows that match at one distance and overlap are one passage.
    matches = sorted(
        (j - i, i) for starts in at.values() for i, j in combinations(starts, 2) if j - i >= WINDOW
    )
    found: list[tuple[int, int, int]] = []  # distance, first line, line after the last
    for distance, start in matches:
        first = start
        if found and found[-1][0] == distance and start < found[-1][2]:
            first = found.pop()[1]
        found.append((distance, first, start + WINDOW))
    passages = [
        Pair(tuple(lines[first:end]), tuple(lines[first + distance : end + distance]))
        for distance, first, end in found
    ]
    return sorted(passages, key=lambda pair: -len(pair.one))


def share(files: Mapping[str, list[Line]], found: list[Pair]) -> float:
    """Part of all code lines that lie in a pair, on either side of it; each line counts once."""
    alike = {line for pair in found for line in (*pair.one, *pair.other)}
    return len(alike) / max(1, sum(map(len, files.values())))


def read(root: Path) -> dict[str, list[Line]]:
    """Code lines of all Python files under a folder, by their paths."""
    return {str(path): code_lines(str(path), path.read_text("utf-8")) for path in sorted(root.rglob("*.py"))}


def report(root: Path) -> str:
    """What the command prints: the pairs, worst first, and the share."""
    files = read(root)
    found = pairs(files)
    count = sum(map(len, files.values()))
    return "\n".join(
        [
            *map(str, found),
            f"{share(files, found):.2%} of {count} code lines in {len(files)} files, in {len(found)} pairs",
            f"{share(files, pairs(files, forms=1)):.2%} with mere enumerations",
        ]
    )


if __name__ == "__main__":
    print(report(Path(sys.argv[1] if len(sys.argv) > 1 else "src/elboroom")))
