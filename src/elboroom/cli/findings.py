"""Findings of the doctor as lines of the command line."""

from __future__ import annotations

from elboroom.cli.parser import in_options
from elboroom.doctor import Finding


def line_of(finding: Finding) -> str:
    """Write a finding in the terms of the command line.

    Examples
    --------
    >>> from elboroom.doctor import Finding
    >>> print(line_of(Finding("the loss jumps", {}, {"lr": 0.001}, "takes smaller steps", "hasty")))
    hasty: the loss jumps. --lr 0.001 takes smaller steps.
    """
    return f"{finding.disease}: {in_options(finding.evidence)}. {in_options(finding.remedy)}."
