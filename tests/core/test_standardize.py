"""--standardize: what a model of hand-scaled data says, in the units of the data."""

from pathlib import Path

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli.main import main
from elboroom.config import ModelConfig
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.classes import report_classes
from elboroom.evaluation.neighbours import nearest
from elboroom.figures import by_class, grids

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(60, 3)) * [0.01, 1e4, 3.0] + [1.0, 5e4, -2.0]).astype(np.float32)
OPTIONS = {"shape": (3,), "hidden": [8], "likelihood": "gaussian", "scale": 1.0}
TRAINING = {"epochs": 3, "batch_size": 20, "quiet": True, "validation": 0, "precision": "fp32"}


def trained(x, out=None, **more):
    torch.manual_seed(3)
    vae = elboroom.VAE.build(**OPTIONS, **more)
    history = elboroom.fit(vae, x, out=out, **TRAINING, hidden=[8], likelihood="gaussian", **more)
    return vae, history


@pytest.fixture(scope="module")
def pair():
    """A model that standardises, one of data standardised by hand, and the units."""
    rows = X[elboroom.load_data(X).indices("train")].astype(np.float64)
    mean, deviation = rows.mean(0), rows.std(0)
    own, own_history = trained(X, standardize=True)
    by_hand, history = trained(((X - mean) / deviation).astype(np.float32))
    return own, own_history, by_hand, history, mean, deviation


def test_nats_are_of_the_datas_units(pair):
    own, own_history, by_hand, history, mean, deviation = pair
    jacobian = np.log(deviation).sum()
    for a, b in zip(own_history, history, strict=True):
        np.testing.assert_allclose(a["distortion"], b["distortion"] + jacobian, atol=1e-3)
        np.testing.assert_allclose(a["rate"], b["rate"], rtol=1e-3)
    scaled = ((X - mean) / deviation).astype(np.float32)
    torch.manual_seed(0)
    elbo = own.elbo(X, 4)
    torch.manual_seed(0)
    torch.testing.assert_close(elbo, by_hand.elbo(scaled, 4) - float(jacobian), rtol=0, atol=2e-3)


def test_outputs_are_in_the_datas_units(pair):
    own, _, by_hand, _, mean, deviation = pair
    scaled = ((X - mean) / deviation).astype(np.float32)
    torch.testing.assert_close(own.embed(X), by_hand.embed(scaled), rtol=1e-3, atol=1e-4)
    expected = by_hand.reconstruct(scaled).numpy() * deviation + mean
    np.testing.assert_allclose(own.reconstruct(X).numpy(), expected, rtol=1e-4)
    for observe in (False, True):
        torch.manual_seed(1)
        drawn = own.sample(50, observe=observe).numpy()
        torch.manual_seed(1)
        other = by_hand.sample(50, observe=observe).numpy()
        np.testing.assert_allclose(drawn, other * deviation + mean, rtol=1e-3)


def test_it_is_kept_in_the_run_and_new_data_use_the_runs_units(tmp_path, pair):
    own, *_ = pair
    trained(X, out=tmp_path / "run", standardize=True)
    loaded = elboroom.load(tmp_path / "run")
    assert torch.equal(loaded.likelihood.location, own.likelihood.location)
    torch.testing.assert_close(loaded.embed(X[:2]), own.embed(X)[:2])


def test_a_column_that_never_varies_keeps_its_unit():
    x = X.copy()
    x[:, 1] = 7.0
    vae, _ = trained(x, standardize=True)
    assert (float(vae.likelihood.location[1]), float(vae.likelihood.spread[1])) == (7.0, 1.0)
    assert torch.isfinite(vae.reconstruct(x)).all()


def test_vamp_starts_from_standardised_examples():
    vae, _ = trained(X, standardize=True, prior="vamp", prior_components=5)
    assert vae.prior.pseudo_inputs.abs().max() < 10


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"likelihood": "bernoulli"}, "standardize = True requires likelihood = 'gaussian', 'laplace'"),
        ({"likelihood": "gaussian", "output": "sigmoid"}, "output = 'sigmoid'"),
        ({"likelihood": "gaussian", "network": "chain"}, "standardize = True requires network"),
    ],
)
def test_what_it_does_not_go_with(more, words):
    with pytest.raises(UsageError, match=words):
        ModelConfig(standardize=True, **more)


def test_charts_show_every_column_in_its_own_standard_deviations(pair):
    own, _, by_hand, _, mean, deviation = pair
    scaled = ((X[:4] - mean) / deviation).astype(np.float32)
    charts = grids.images_of(own, X[:4], own.reconstruct(X[:4]))
    assert np.abs(charts - grids.as_images(scaled, by_hand.reconstruct(scaled))).mean() < 1e-3
    assert np.abs(charts - grids.as_images(X[:4], own.reconstruct(X[:4]))).mean() > 0.01
    assert grids.titled(own, "Samples") == "Samples (drawn standardised)"
    assert grids.titled(by_hand, "Samples") == "Samples"
    data = Dataset("t", X[:4], split=np.zeros(4, np.uint8), labels=np.arange(4) % 2)
    ours, theirs = by_class.examples_by_class(data, 2, vae=own), by_class.examples_by_class(data, 2)
    assert not np.array_equal(own_pixels(ours), own_pixels(theirs))


def test_neighbours_are_near_in_every_column(pair):
    own, _, _, _, mean, deviation = pair
    data = elboroom.load_data(X)
    rows = data.indices("train")
    scaled = (X - mean) / deviation
    found = nearest(data, X[:5], 3, vae=own)
    for i in range(5):
        expected = np.sqrt(np.square(scaled[rows] - scaled[i]).mean(1))
        order = np.argsort(expected)[:3]
        np.testing.assert_array_equal(found.rows[i], rows[order])
        np.testing.assert_allclose(found.distances[i], expected[order], rtol=1e-4, atol=1e-6)
    assert not np.array_equal(found.rows, nearest(data, X[:5], 3).rows)  # the second column decides alone


def own_pixels(figure):
    """The images of a figure alone, without its title."""
    return np.concatenate([image.get_array().ravel() for axes in figure.axes for image in axes.images])


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
    np.savetxt("t.csv", X, delimiter=",", header="rate,income,age")
    line = "train t.csv --standardize --likelihood gaussian --hidden 8 --epochs 2 --out run --quiet"
    assert main(line.split()) == 0
    assert main(["sample", "run", "--n", "40", "--out", "s.npy"]) == 0
    assert 3e4 < np.load("s.npy")[:, 1].mean() < 7e4
    assert main(["evaluate", "run", "--num-samples", "8", "--split", "all", "--json"]) == 0
    assert Path("run/model.safetensors").exists()


def test_neighbours_and_classes_are_near_in_standard_deviations(pair):
    own, *_, mean, deviation = pair
    data = elboroom.load_data(X)
    train = data.indices("train")
    scaled = (X - mean) / deviation
    queries = X[:5] + np.float32(0.1) * deviation.astype(np.float32)
    found = nearest(data, queries, 1, vae=own)
    apart = np.sqrt((((scaled[:5] + 0.1)[:, None] - scaled[train][None]) ** 2).mean(2))
    assert found.rows[:, 0].tolist() == train[apart.argmin(1)].tolist()
    np.testing.assert_allclose(found.distances[:, 0], apart.min(1), rtol=1e-3)
    # The column in tens of thousands, which tells nothing, does not drown the one in hundredths.
    rng = np.random.default_rng(1)
    y = np.arange(200) % 2
    x = np.stack([rng.normal(size=200) * 1e4, y * 0.1 + rng.normal(size=200) * 0.005], 1).astype(np.float32)
    vae = elboroom.VAE.build(**OPTIONS | {"shape": (2,)}, standardize=True)
    vae.likelihood.fit(torch.tensor(x.mean(0)), torch.tensor(x.std(0)))
    rows = np.arange(200)
    report = report_classes(
        vae, Batches(elboroom.load_data(x), torch.device("cpu")), y, rows, rows, ("a", "b")
    )
    assert report.seen_as["originals"].diagonal().tolist() == [1.0, 1.0]
