"""Training that is killed again and again with ``kill -9``, and comes to the same end.

Each life is a forked process; it dies at a moment drawn at random, or at an operation on the disk drawn at
random, half of them with a file half-written. The next life goes on from what it left::

    python tests/faults/lives.py --kills 60
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom.errors import UsageError
from elboroom.io import tensors as tensors_module
from elboroom.io.tensors import read_tensors
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.training import fit
from elboroom.training.checkpoints import saving

STATE = "state.safetensors"
# What of a checkpoint is never the same twice.
TIMES = ("seconds", "images_per_second")
X = np.random.default_rng(0).integers(0, 256, (120, 6, 6), dtype=np.uint8)


def build(seed: int = 0) -> VAE:
    """Make a small VAE, weights by seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE.build(shape=(6, 6, 1), latent_dim=2, hidden=(8,))


def train(out: Path, epochs: int = 4, **options: Any) -> list[dict[str, Any]]:
    """Train with all that a resumed run has to bring back: noise, average, schedule, momentum, the best."""
    chosen = {"batch_size": 16, "validation": 0.2, "binarize": "stochastic", "ema": 0.9, "lr": 0.01}
    chosen |= {"lr_schedule": "CosineAnnealingLR", "lr_schedule_options": {"T_max": 4}, "device": "cpu"}
    return fit(build(), X, out=out, epochs=epochs, quiet=True, **{**chosen, **options})


def go_on(out: Path, **options: Any) -> list[dict[str, Any]]:
    """Resume in a model of other weights."""
    return fit(build(seed=7), X, out=out, resume=True, quiet=True, **options)


def position(out: Path) -> int:
    """Steps of the last checkpoint; -1 if there is none."""
    path = out / "checkpoints" / "last" / STATE
    return int(files_state(path)["engine"]["steps"]) if path.exists() else -1


def files_state(path: Path) -> dict[str, Any]:
    """All of a checkpoint but its tensors."""
    return json.loads(read_tensors(path)[1]["state"])  # type: ignore[no-any-return]


def timeless(tree: Any) -> Any:
    """Leave out what is never the same twice."""
    if isinstance(tree, dict):
        return {key: timeless(value) for key, value in tree.items() if key not in TIMES}
    return [timeless(value) for value in tree] if isinstance(tree, list) else tree


def assert_same_end(out: Path, whole: Path) -> None:
    """Compare weights and checkpoints byte for byte, and history but for times."""
    weights = [(run / "model.safetensors").read_bytes() for run in (out, whole)]
    assert weights[0] == weights[1], f"{out}: other weights"
    histories = [timeless(Run(run).history) for run in (out, whole)]
    assert histories[0] == histories[1], f"{out}: another history"
    for which in ("last", "best"):
        (one, text), (other, text_of_other) = (
            read_tensors(run / "checkpoints" / which / STATE) for run in (out, whole)
        )
        assert one.keys() == other.keys()
        unequal = [key for key in one if one[key].numpy().tobytes() != other[key].numpy().tobytes()]
        assert unequal == [], f"{out}: {which}"
        assert timeless(json.loads(text["state"])) == timeless(json.loads(text_of_other["state"])), which


def assert_nothing_half(out: Path) -> None:
    """Every file that has its own name is whole, whatever happened."""
    for path in out.rglob("*.safetensors"):
        read_tensors(path)
    for path in (*out.glob("*.json"), *out.glob("*.jsonl")):
        for text in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            json.loads(text)


@contextlib.contextmanager
def always_due() -> Iterator[None]:
    """A checkpoint is begun at every step at which none is being written."""
    before = saving.SHARE, saving.PAUSE
    saving.SHARE, saving.PAUSE = float("inf"), (0.0, 0.0)
    try:
        yield
    finally:
        saving.SHARE, saving.PAUSE = before


@contextlib.contextmanager
def at_each_operation(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` before each operation that changes the disk, and in the middle of each tensor file."""

    def first(real: Callable[..., Any]) -> Callable[..., Any]:
        def act_and_do(*args: Any, **more: Any) -> Any:
            act()
            return real(*args, **more)

        return act_and_do

    def save_in_halves(tensors: Any, path: Path, text: Any) -> None:
        act()
        save_file(tensors, path, text)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        act()
        path.write_bytes(content)

    save_file = tensors_module.save_file
    real = os.fsync, os.link, Path.replace
    os.fsync, os.link = first(os.fsync), first(os.link)
    Path.replace = first(Path.replace)  # type: ignore[method-assign]
    tensors_module.save_file = save_in_halves
    try:
        yield
    finally:
        os.fsync, os.link, Path.replace = real  # type: ignore[method-assign]
        tensors_module.save_file = save_file


def fork(live: Callable[[], Any]) -> int:
    """Do something in a process of its own; exits with 0, or 3 after an exception."""
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        live()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


def one_life(out: Path, draw: random.Random, seconds: float, operations: int) -> bool:
    """Start or resume, and die; False if it came to its end before."""
    aimed = draw.random() < 0.5
    fatal, count = draw.randrange(operations), [0]

    def die_at_the_fatal_one() -> None:
        count[0] += 1
        if count[0] > fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def live() -> None:
        with always_due(), at_each_operation(die_at_the_fatal_one if aimed else lambda: None):
            go_on(out) if position(out) >= 0 else train(out, overwrite=True)

    child = fork(live)
    if not aimed:
        time.sleep(draw.random() * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"{out}: a life ended in an error"
    return False


def assert_locked_while_it_lives(folder: Path) -> None:
    """A second process is refused in one line while the first trains, and let in once that is killed."""
    out = folder / "two"
    train(out, epochs=1)
    child = fork(lambda: go_on(out, epochs=100_000))
    try:
        # It holds the lock from before it writes its number of epochs.
        while Run(out).config.training.epochs == 1:
            time.sleep(0.01)
        refused = ""
        try:
            go_on(out, epochs=3)
        except UsageError as error:
            refused = str(error)
        assert f"{out} is being written by another training" in refused
        Run(out).model()  # readers are let in
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    Run(out).lock()


def main() -> None:
    """Kill as often as asked, and compare every end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, kills, ends = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert_locked_while_it_lives(folder)
        whole, count = folder / "whole", [0]
        with always_due(), at_each_operation(lambda: count.__setitem__(0, count[0] + 1)):
            started = time.perf_counter()
            train(whole)
            seconds = time.perf_counter() - started
        while kills < options.kills:
            out = folder / str(ends)
            # No more than five deaths to a run: many short lives would come no farther than a few long ones.
            for _ in range(5):
                if not one_life(out, draw, seconds, count[0]):
                    break
                kills += 1
                assert_nothing_half(out)
                if position(out) == position(whole):  # it had just come to its end
                    break
            if position(out) < position(whole):
                go_on(out) if position(out) >= 0 else train(out, overwrite=True)
                assert not list(out.rglob("*.part")), f"{out}: left-overs"
            assert_same_end(out, whole)
            ends += 1
    print(f"{kills} kills in {ends} runs: every run came to the same end")


if __name__ == "__main__":
    main()
