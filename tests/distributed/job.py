"""What one process of a test's training does; run as a script by each of them.

WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=… python job.py FOLDER [SCENARIO ...]
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elboroom import VAE, Dataset, Objective, fit
from elboroom.distributed.processes import Workers
from elboroom.objectives import schedules
from elboroom.objectives.critics import total_correlation_critic
from elboroom.training import StopTraining
from elboroom.training.loop import Training
from elboroom.training.step.engine import Engine

BASE: dict[str, Any] = {"batch_size": 16, "epochs": 3, "validation": 0.2, "lr": 1e-2, "quiet": True}


def images(n: int = 70) -> Dataset:
    """Small grey images; 56 to train on make batches of 16, 16, 16 and 8."""
    x = np.random.default_rng(0).integers(0, 256, (n, 6, 6, 1), dtype=np.uint8)
    return Dataset("images", x, split=np.zeros(n, np.uint8), scale=255)


def build(**fields: Any) -> VAE:
    """Make a model whose weights depend on nothing else."""
    torch.manual_seed(0)
    return VAE.build(**{"shape": (6, 6, 1), "latent_dim": 2, "hidden": [8], **fields})


def plain(out: Path) -> None:
    more: dict[str, Any] = {"random_crop": (4, 5), "flip": True, "binarize": "stochastic"}
    fit(build(shape=(4, 5, 1)), images(), out=out, **BASE, **more, ema=0.9, clip=1.0)


def few_examples(out: Path) -> None:
    """Batches of 2, which leave a process of three without any."""
    fit(build(), images(), out=out, **BASE | {"batch_size": 2, "epochs": 1})


def sharded(out: Path) -> None:
    fit(build(), images(), out=out, **BASE, shard_optimizer=True)


def batch_norm(out: Path) -> None:
    fit(build(normalization="batch"), images(), out=out, **BASE | {"batch_size": 28, "epochs": 2})


def critic(out: Path) -> None:
    torch.manual_seed(1)
    penalty = total_correlation_critic(2, hidden=(8,))
    objective = Objective(penalties={"tc": (penalty, schedules.constant(5.0))})
    fit(build(), images(), out=out, objective=objective, **BASE | {"epochs": 2})


def patch_critic(out: Path) -> None:
    """One that sleeps in the first of three epochs, learns alone in the second, and counts in the third."""
    vae = build(
        network="spatial", likelihood="laplace", conv_width=4, conv_levels=1, latent_dim=2, hidden=(400, 400)
    )
    options = {"critic_start": 2 / 3, "critic_warmup": 1 / 3, "critic_r1": 0.5, "critic_width": 4}
    more = {**BASE, **options, "critic_norm": "spectral"}
    fit(vae, images(), out=out, **more, penalties={"patch_critic": 0.5, "equivariance": 0.1})


def layers(out: Path) -> None:
    vae = build(network="chain", chain_dims=(2, 3), chain_hidden=(4, 4), latent_dim=2, hidden=(400, 400))
    fit(vae, images(), out=out, **BASE)


def recomputed(out: Path) -> None:
    vae = build(network="ladder", conv_width=4, latent_dim=2, hidden=(400, 400))
    fit(vae, images(), out=out, **BASE | {"epochs": 2}, checkpoint_activations=True)


def codes(out: Path) -> None:
    codebook = {"code_grid": (3,), "code_channels": 2, "codebook_size": 5}
    vae = build(posterior="vq", code_normalization="none", **codebook)
    fit(vae, images(), out=out, **BASE, penalties={"commitment": 0.25})


def normalized_codes(out: Path) -> None:
    """Normalised over batches of 2 examples, which leave a process of three without any."""
    grid = {"network": "spatial", "conv_width": 4, "conv_levels": 1, "latent_dim": 2, "hidden": (400, 400)}
    vae = build(posterior="fsq", fsq_levels=(5, 5), likelihood="gaussian", **grid)
    fit(vae, images(), out=out, **BASE | {"batch_size": 2, "epochs": 1})


def bad_example(out: Path) -> None:
    x = np.random.default_rng(0).random((56, 6), dtype=np.float32)
    data = Dataset("rows", x, split=np.zeros(56, np.uint8), published_split=True)
    own = Engine.__init__

    def spoilt(engine: Engine, *args: Any, **options: Any) -> None:
        own(engine, *args, **options)
        engine.batches.x[17] = torch.nan

    Engine.__init__ = spoilt  # type: ignore[method-assign]
    try:
        fit(build(shape=(6,)), data, out=out, **BASE | {"validation": 0.0})
    finally:
        Engine.__init__ = own  # type: ignore[method-assign]


def freezes(out: Path) -> None:
    """A gradient hook from the start, and a decoder that is frozen in the second epoch."""
    vae = build()
    vae.encoder[1].weight.register_hook(lambda g: g * torch.arange(len(g))[:, None].fmod(2))

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:  # in the first process only
        vae.decoder.requires_grad_(row["epoch"] == 2)

    decay = {"optimizer": "AdamW", "optimizer_options": {"weight_decay": 0.1}}
    fit(vae, images(), out=out, on_epoch=on_epoch, **BASE | decay)


def watched(out: Path) -> None:
    """A function that looks on at each step and draws random numbers, and one that ends after two epochs."""
    seen = []

    def on_step(vae: VAE, row: dict[str, Any]) -> None:
        seen.append((row["step"], torch.rand(3)))

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        assert len(seen) == row["step"]
        if row["epoch"] == 2:
            raise StopTraining

    assert len(fit(build(), images(), out=out, on_epoch=on_epoch, on_step=on_step, **BASE)) == 2


def recorded(out: Path) -> None:
    """Trainings whose steps are replayed on the CPU, beside the same without it; what each did as a file.

    The batch of 4 that ends an epoch is a single piece, while the others are divided.
    """
    # Only this scenario needs the stand-in, and a process is a script without a package.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.training.recording import Recording

    defaults = Training.__init__.__kwdefaults__
    assert defaults is not None
    before, defaults["engine"] = defaults["engine"], partial(Engine, new_graph=Recording)
    done = {}
    try:
        for name, train in RECORDED.items():
            for capture in ("off", "auto"):
                Recording.made = Recording.replays = 0
                train(out / capture / name, capture)
                done[f"{name} {capture}"] = (Recording.made, Recording.replays)
    finally:
        defaults["engine"] = before
    out.with_name(f"recorded-{Workers(torch.device('cpu')).rank}.json").write_text(json.dumps(done))


def _recorded(**options: Any) -> Callable[[Path, str], None]:
    own, base = options.pop("model", {}), BASE | {"validation": 0.0, "epochs": 4}
    objective = options.pop("objective", lambda: None)

    def train(out: Path, capture: str) -> None:
        fit(build(**own), images(68), out=out, objective=objective(), **base | options, capture=capture)

    return train


def _correlated() -> Objective:
    torch.manual_seed(1)
    penalty = total_correlation_critic(2, hidden=(8,))
    return Objective(penalties={"tc": (penalty, schedules.constant(5.0))})


RECORDED: dict[str, Callable[[Path, str], None]] = {
    "plain": _recorded(
        model={"shape": (4, 5, 1)},
        random_crop=(4, 5),
        **{"flip": True, "binarize": "stochastic", "ema": 0.9, "clip": 1.0, "beta_ramp": 2},
    ),
    "sharded": _recorded(shard_optimizer=True, ema=0.9),
    "pieces": _recorded(batch_size=4, accumulate=4, lr_schedule="CosineAnnealingLR"),
    "critic": _recorded(objective=_correlated),
    "batch_norm": _recorded(model={"normalization": "batch"}),
    "layers": _recorded(
        model={"network": "chain", "chain_dims": (2, 3), "chain_hidden": (4, 4), "hidden": (400, 400)}
    ),
    "codes": _recorded(
        model={"posterior": "vq", "code_grid": (3,), "code_channels": 2, "codebook_size": 5},
        penalties={"commitment": 0.25},
    ),
}


def two_epochs(out: Path) -> None:
    fit(build(), images(), out=out, **BASE | {"epochs": 2})


def two_epochs_sharded(out: Path) -> None:
    fit(build(), images(), out=out, **BASE | {"epochs": 2}, shard_optimizer=True)


def goes_on(out: Path) -> None:
    """Two more epochs of a run that another number of processes began."""
    fit(build(), images(), out=out, resume=True, epochs=4, quiet=True)


def dies(out: Path) -> None:
    """The second process is killed in the second epoch."""
    take = Engine.step

    def step(engine: Engine, *batch: Any) -> None:
        take(engine, *batch)
        if engine.steps == 6 and engine.workers.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    Engine.step = step  # type: ignore[method-assign]
    fit(build(), images(), out=out, **BASE)


def leaves(out: Path) -> None:
    """Write which threads of the group are left when it is left, after all the trainings before."""
    workers = Workers(torch.device("cpu"))
    rank = workers.rank
    workers.close()
    tasks = Path("/proc/self/task")
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir()] if tasks.is_dir() else []
    out.with_name(f"threads-{rank}").write_text(" ".join(name for name in names if "gloo" in name))


SCENARIOS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        *(
            plain,
            few_examples,
            sharded,
            batch_norm,
            critic,
            patch_critic,
            layers,
            recomputed,
            codes,
            normalized_codes,
            bad_example,
        ),
        *(freezes, watched, recorded),
        *(two_epochs, two_epochs_sharded, goes_on, dies, leaves),
    )
}


def run(folder: Path, names: list[str]) -> None:
    """Run scenarios, each named NAME or NAME:FOLDER."""
    torch.set_num_threads(1)
    for name in names:
        scenario, _, out = name.partition(":")
        SCENARIOS[scenario](folder / (out or scenario))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
