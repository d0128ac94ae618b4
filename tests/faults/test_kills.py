"""``kill -9``, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import LONG


def test_killed_runs_come_to_the_same_end(tmp_path: Path) -> None:
    kills = 60 if LONG else 5
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("lives.py"), "--kills", str(kills)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= kills
