"""``kill -9``, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import LONG


def test_killed_runs_come_to_the_same_end(tmp_path: Path, popen: type[subprocess.Popen[str]]) -> None:
    kills = 60 if LONG else 5
    with popen(
        [sys.executable, Path(__file__).with_name("lives.py"), "--kills", str(kills)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        out, told = process.communicate(timeout=1200)
    assert process.returncode == 0, told
    assert int(out.split()[0]) >= kills
