"""``fit``: what it leaves alone, what it leaves behind, and what it refuses."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.cli.main import main
from elboroom.cli.parser import in_options
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.errors import FailureError, RunWarning, UsageError
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.objectives import Objective
from elboroom.objectives.schedules import constant
from elboroom.probability import StandardNormal
from elboroom.runs.run import Run, load
from elboroom.training import fit
from elboroom.training.checkpoints.state import copy_state

from .runs import assert_identical, build, checkpoint, images, rows, train


def weights(vae: VAE) -> dict[str, Any]:
    return copy_state(dict(vae.state_dict()))


def test_the_callers_randomness_is_untouched(tmp_path: Path) -> None:
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    train(build(), tmp_path / "run", 2, validation=0.2, binarize="stochastic")
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert after[0].equal(before[0])
    assert after[1:] == before[1:]


def test_seeds() -> None:
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))  # which must not matter
        vae = build()
        train(vae, None, 1, seed=seed, validation=0.0)
        found.append(weights(vae))
    assert_identical(found[0], found[1])
    assert not found[0]["encoder.1.weight"].equal(found[2]["encoder.1.weight"])


def test_leaves_a_model_at_rest() -> None:
    vae = build(normalization="batch")
    train(vae, None, 1, validation=0.0)
    assert not any(module.training for module in vae.modules())
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())


def test_frozen_weights_stay() -> None:
    vae = build()
    vae.decoder.requires_grad_(False)
    before = weights(vae)
    train(vae, None, 1)
    changed = [name for name, value in weights(vae).items() if not value.equal(before[name])]
    assert {name.split(".")[0] for name in changed} == {"encoder"}


def test_ends_with_the_weights_of_the_best_validation_elbo(tmp_path: Path) -> None:
    kept: dict[int, Any] = {}
    vae = build()
    history = train(
        vae, tmp_path / "run", 8, lr=0.4, validation=0.2,
        on_epoch=lambda vae, row: kept.update({row["epoch"]: weights(vae)}),
    )  # fmt: skip
    best = max(history, key=lambda row: row["val_elbo"])["epoch"]
    assert 1 < best < 8  # neither end would tell much
    assert_identical(weights(vae), kept[best])
    assert_identical(weights(load(tmp_path / "run")), kept[best])
    assert_identical(checkpoint(tmp_path / "run", "best")["engine"]["model"], kept[best])
    assert_identical(checkpoint(tmp_path / "run")["engine"]["model"], kept[8])
    assert len(checkpoint(tmp_path / "run", "best")["history"]) == best
    # Measured again, with the same noise, the weights give the number they were chosen for.
    again = train(vae, None, 1, lr=1e-30, validation=0.2)
    assert again[0]["val_elbo"] == pytest.approx(history[best - 1]["val_elbo"], rel=1e-6)


def test_without_validation_it_ends_with_the_last(tmp_path: Path) -> None:
    kept: list[Any] = []
    vae = build()
    train(
        vae, tmp_path / "run", 3, lr=0.3, validation=0.0,
        on_epoch=lambda vae, _row: kept.append(weights(vae)),
    )  # fmt: skip
    assert_identical(weights(vae), kept[-1])
    assert_identical(weights(load(tmp_path / "run")), kept[-1])
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_stops_after_as_many_epochs_without_a_better_one(patience: int) -> None:
    history = train(build(), None, 40, lr=0.3, validation=0.2, patience=patience)
    elbos = [row["val_elbo"] for row in history]
    best = elbos.index(max(elbos))
    assert len(history) == best + 1 + patience < 40
    # At no earlier epoch had it waited as long.
    assert all(max(elbos[: i - patience + 1]) < max(elbos[: i + 1]) for i in range(patience, len(elbos) - 1))


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(build(), None, 2, validation=0.2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (images(), {}),
        (images()[..., None], {}),
        ((images()[..., None] / 255).astype(np.float64), {}),
        (rows(), {"shape": (5,), "likelihood": "gaussian"}),
        (np.asfortranarray(rows()[::-1]), {"shape": (5,), "likelihood": "gaussian"}),
    ],
    ids=["uint8", "with channels", "float64", "rows", "a view"],
)
def test_takes_arrays(data: Any, fields: dict[str, Any]) -> None:
    before = data.copy()
    vae = build(**fields)
    assert len(train(vae, None, 1, data)) == 1
    np.testing.assert_array_equal(data, before)


def test_eight_bits_and_their_floats_train_alike() -> None:
    found = []
    for data in (images(), images()[..., None].astype(np.float32) / np.float32(255)):
        vae = build()
        train(vae, None, 2, data, validation=0.0)
        found.append(weights(vae))
    assert_identical(*found)


def test_a_test_example_and_a_validation_example_are_never_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Batches of 8 with batch norm off: the weights depend on what was in them alone. So other pixels in
    # the parts held out must not change a bit.
    data = load_data(images())
    held = data.with_validation(0.2, seed=0)
    assert [len(held.indices(part)) for part in ("train", "validation", "test")] == [43, 11, 6]
    kept: list[Any] = []
    for value in (0, 255):
        changed = images()
        changed[np.setdiff1d(np.arange(60), held.indices("train"))] = value
        train(build(), None, 2, changed, validation=0.2, on_epoch=lambda vae, _row: kept.append(weights(vae)))
    assert_identical(kept[:2], kept[2:])


@pytest.mark.parametrize(
    ("n", "fraction", "counts"),
    [(60, None, (49, 5, 6)), (21, None, (19, 0, 2)), (60, 0.0, (54, 0, 6)), (60, 0.5, (27, 27, 6))],
)  # by default a tenth, from 20 examples on
def test_the_part_held_out(n: int, fraction: float | None, counts: tuple[int, ...], tmp_path: Path) -> None:
    train(build(), tmp_path / "run", 1, images(n), validation=fraction)
    numbers = re.findall(r"(\d+) (train|validation|test)", Run(tmp_path / "run").environment["data"])
    assert {part: int(count) for count, part in numbers} == {
        part: count for part, count in zip(("train", "validation", "test"), counts, strict=True) if count
    }


def test_an_objective_of_ones_own_is_the_one_minimised() -> None:
    # Only the rate counts here, and it falls while the distortion may do what it likes.
    objective = Objective(1.0, bound=lambda terms, beta: -beta * terms.rate)
    history = train(build(), None, 4, lr=0.02, objective=objective, beta=123.0)
    assert all(row["loss"] == pytest.approx(row["rate"], rel=2e-7) for row in history)
    assert history[-1]["rate"] < 0.5 * history[0]["rate"]
    assert history[0]["beta"] == 1.0


def test_a_penaltys_own_weights_are_trained_and_kept(tmp_path: Path) -> None:
    class Pull(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, _terms: Any) -> torch.Tensor:
            return self.weight.square()

    pull = Pull()
    train(build(), tmp_path / "run", 2, objective=Objective(penalties={"pull": (pull, constant(1.0))}))
    assert pull.weight.item() < 1
    assert pull.weight.grad is None
    (kept,) = checkpoint(tmp_path / "run")["engine"]["objective"].values()
    assert kept.item() == pull.weight.item()


def test_options_lie_over_the_configuration(tmp_path: Path) -> None:
    config = Config().updated(epochs=3, beta=2.0, batch_size=8)
    history = fit(build(), images(), out=tmp_path / "run", config=config, quiet=True, epochs=1)
    assert [row["beta"] for row in history] == [2.0]
    assert Run(tmp_path / "run").config.objective.beta == 2.0
    assert Run(tmp_path / "run").config.training.epochs == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"patience": 2, "validation": 0.0}, r"patience = 2 needs validation examples.*--validation"),
        ({"bettta": 2}, "did you mean 'beta'"),
        ({"data": rows()}, r"examples of shape \(5,\) and the model takes \(6, 6, 1\)"),
        ({"data": images() // 255}, r"pixel value 1 is 1.*scale=1"),
        ({"data": rows(), "vae": build(shape=(5,))}, r"outside \[0, 1\].* likelihood = 'gaussian'"),
        ({"data": [[1, 2]]}, "data has type list"),
        ({"data": "digitz"}, "did you mean 'digits'"),
        ({"validation": 0.999}, "takes all 54 training examples"),
        ({"device": "cuda:99"}, "device = 'cuda:99' is not available"),
        ({"optimizer": "Adan"}, "did you mean 'Adam'"),
        ({"optimizer_options": {"betas": [2, 0]}}, "Adam does not take optimizer_options"),
        ({"optimizer_options": {"betas": [0.9]}}, "Adam does not take optimizer_options"),
        ({"lr_schedule": "StepLr", "lr_schedule_options": {}}, "StepLR does not take .*step_size"),
        ({"lr_schedule": "CosineAnnealing"}, "did you mean 'CosineAnnealingLR'"),
        ({"lr_schedule": "SequentialLR"}, "SequentialLR"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    options = {"vae": build(), "out": tmp_path / "run", "epochs": 1, **given}
    with pytest.raises(UsageError, match=words) as error:
        train(**options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_batch_norm_with_a_last_batch_of_one_is_refused_or_trained(tmp_path: Path) -> None:
    # 41 images: torch's batch norm cannot train on the last one alone, which must not end in its words.
    try:
        train(build(normalization="batch"), tmp_path / "run", 1, images(46), validation=0.0)
    except UsageError:
        assert not (tmp_path / "run").exists()


def test_a_loss_that_diverges_ends_in_one_line_and_a_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FailureError) as error:
        train(build(), tmp_path / "run", 3, lr=1e30, validation=0.0)
    message = str(error.value)
    assert re.search(r"training has diverged, and a lower .*clip=.* lower lr=", message)
    assert "\n" not in message
    assert f"{tmp_path / 'run'} has a checkpoint of step 0" in message
    kept = checkpoint(tmp_path / "run")
    assert kept["engine"]["steps"] == 0
    with pytest.warns(RunWarning, match=r"run: 13 steps in a row were not finite: training has diverged"):
        usable = load(tmp_path / "run")
    assert_identical(kept["engine"]["model"], dict(usable.state_dict()))
    # It can be gone on with, and of course comes to the same end.
    with pytest.raises(FailureError, match="has diverged"):
        train(build(), tmp_path / "run", 3, resume=True)


def test_the_way_out_of_divergence_is_an_option_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FailureError) as error:
        train(build(), None, 1, lr=1e30)
    assert main(["train", "--help-all"]) == 0
    help_text = capsys.readouterr().out
    options = re.findall(r"--[a-z.-]*[a-z]", in_options(str(error.value)))
    assert options
    assert [option for option in options if not re.search(rf"{option}\b", help_text)] == []


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_weights_spoilt_in_an_epochs_last_step_do_not_pass_for_good(
    validation: float, tmp_path: Path
) -> None:
    # One step an epoch: its loss is of the weights before, so the epoch itself looks fine.
    with pytest.raises(FailureError):
        train(build(), tmp_path / "run", 4, lr=1e30, batch_size=100, validation=validation)
    good = checkpoint(tmp_path / "run")["engine"]["model"]
    assert max(value.abs().max().item() for value in good.values()) < 1e3
    assert "NaN" not in (tmp_path / "run" / "history.jsonl").read_text()


def test_a_model_composed_in_python_trains_and_loads_into_another(tmp_path: Path) -> None:
    def composed() -> VAE:
        torch.manual_seed(0)
        return VAE(MLP((6, 6, 1), (4,), [8]), MLP((2,), (6, 6, 1), [8]), StandardNormal(2), shape=(6, 6, 1))

    vae = composed()
    train(vae, tmp_path / "run", 2)
    train(composed(), tmp_path / "run", 3, resume=True)
    whole = composed()
    train(whole, None, 3)
    assert_identical(weights(load(tmp_path / "run", into=composed())), weights(whole))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"latent_dim": 7},
            r"latent_dim = 7 is part of the model, which was built with latent_dim = \d+; give",
        ),
        (
            {"standardize": True},
            "standardize = True is part of the model, which was built with standardize = F",
        ),
        ({"hidden": [8], "likelihood": "laplace"}, "likelihood = 'laplace' is part of the model"),
        ({"latent_dim": 0}, "latent_dim = 0: must be at least 1"),
    ],
)
def test_options_that_would_make_another_model_are_refused(options: dict[str, Any], words: str) -> None:
    vae = VAE.build(shape=(4,), latent_dim=1, hidden=[8], likelihood="gaussian")
    data = np.eye(4, dtype=np.float32).repeat(10, 0)
    before = [p.detach().clone() for p in vae.parameters()]
    with pytest.raises(UsageError, match=words):
        fit(vae, data, epochs=1, quiet=True, **options)
    assert all(torch.equal(p, q) for p, q in zip(vae.parameters(), before, strict=True))
    fit(vae, data, epochs=1, quiet=True, latent_dim=1)  # what it is already
    with pytest.raises(UsageError, match="latent_dim = 1 is part of the model, and this VAE was composed in"):
        fit(VAE(vae.encoder, vae.decoder, vae.prior, shape=(4,)), data, epochs=1, quiet=True, latent_dim=1)
