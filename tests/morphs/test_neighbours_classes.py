"""Nearest examples, SSIM and the report of classes against brute force."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation import neighbours
from elboroom.evaluation.classes import ClassReport, report_classes, ssim
from elboroom.evaluation.neighbours import embed_rows, nearest
from elboroom.models.vae import VAE

from .conftest import build

# neighbours


@pytest.mark.parametrize("chunk", [1, 5000, 1 << 24])
@pytest.mark.parametrize("space", ["pixels", "codes"])
def test_neighbours_are_those_of_brute_force(
    space: str, chunk: int, vae: VAE, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK_BYTES", chunk)
    queries = np.random.default_rng(1).random((4, 12, 12, 1), dtype=np.float32)
    rows = data.indices("train")
    found = nearest(data, queries, 7, space, vae=vae)  # type: ignore[arg-type]
    assert found.rows.shape == found.distances.shape == (4, 7)
    for query, near, distances, usual in zip(queries, *found, strict=True):
        if space == "pixels":
            expected = np.sqrt(np.square(data.values(rows).astype(float) - query).mean((1, 2, 3)))
        else:
            expected = np.linalg.norm(vae.embed(data.values(rows)) - vae.embed(query[None]), axis=1)
        order = np.argsort(expected, kind="stable")[:7]
        # Codes of parts and of all at once differ by float32 rounding.
        np.testing.assert_allclose(distances, expected[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(near, rows[order])
        assert usual == pytest.approx(expected[order[:2]].mean(), rel=1e-5, abs=1e-6)  # a twentieth of 40


def test_an_example_is_its_own_nearest_neighbour_and_a_copy(data: Dataset) -> None:
    x = data.values(np.arange(3))
    found = nearest(data, x, 50)
    assert found.rows.shape == (3, 40)  # all there are for training
    np.testing.assert_array_equal(found.rows[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(found.distances[:, 0], 0)
    assert found.copied.all()
    noisy = np.random.default_rng(0).random(x.shape)
    assert not nearest(data, noisy, 50).copied.any()
    almost = x + np.float32(0.01) * noisy
    assert nearest(data, almost, 1).copied.all()
    np.testing.assert_array_equal(nearest(data, x, 1, rows=np.array([7, 9])).rows.ravel() % 2, 1)


def test_neighbours_that_cannot_be_found(data: Dataset) -> None:
    x = data.values(np.arange(2))
    for wrong, words in (
        ({"n": 0}, "n = 0 neighbours; ask for at least 1"),
        ({"space": "codes"}, "needs the model"),
        ({"rows": np.zeros(0, np.int64)}, "no examples to search"),
    ):
        with pytest.raises(UsageError, match=words):
            nearest(data, x, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"got images \(2, 3\); toy contains examples \(12, 12, 1\)"):
        nearest(data, np.zeros((2, 3)))


def test_codes_of_rows_are_those_of_embed(vae: VAE, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([5, 3, 50])
    expected = vae.embed(data.values(rows)).numpy()
    monkeypatch.setattr(neighbours, "_CHUNK_BYTES", 1)
    np.testing.assert_allclose(embed_rows(vae, data, rows), expected, rtol=1e-5, atol=1e-6)
    assert embed_rows(vae, data, rows[:0]).shape == (0, 3)


# SSIM


def brute_force_ssim(a: np.ndarray, b: np.ndarray, width: int) -> float:
    """Wang et al.'s formula, place by place, from weighted moments about the mean."""
    offsets = np.arange(width) - width // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top, left in itertools.product(range(a.shape[0] - width + 1), range(a.shape[1] - width + 1)):
        x, y = (image[top : top + width, left : left + width] for image in (a, b))
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cov = (weights * (x - mx) * (y - my)).sum()
        values.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("shape", "width"), [((16, 13, 1), 11), ((12, 11, 3), 11), ((8, 20, 1), 7), ((1, 5, 1), 1)]
)
def test_ssim_is_the_published_formula(shape: tuple[int, ...], width: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.random((3, *shape))
    b = np.clip(a + 0.3 * rng.normal(size=a.shape), 0, 1)
    expected = [
        np.mean([brute_force_ssim(x[..., c], y[..., c], width) for c in range(shape[2])])
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(ssim(torch.tensor(a), torch.tensor(b)), expected, rtol=1e-9)


def test_ssim_at_its_corners() -> None:
    image = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ssim(image, image), torch.ones(2))
    torch.testing.assert_close(ssim(image, 1 - image), ssim(1 - image, image))
    black, white = torch.zeros(1, 12, 12, 1), torch.ones(1, 12, 12, 1)
    torch.testing.assert_close(ssim(black, white), torch.tensor([1e-4 / (1 + 1e-4)]))


# classes


class Fixed(torch.nn.Module):
    """Decodes everything to one image."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image = torch.nn.Parameter(image)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.image.expand(len(z), *self.image.shape)


def report(vae: VAE, data: Dataset, **changes: object) -> ClassReport:
    assert data.labels is not None
    batches = Batches(data, torch.device("cpu"))
    rows = {"rows": data.indices("test"), "reference": data.indices("train"), **changes}
    return report_classes(vae, batches, data.labels, names=data.label_names, **rows)  # type: ignore[arg-type]


def test_a_model_that_decodes_everything_to_people_is_found_out(data: Dataset) -> None:
    vae = build(likelihood="gaussian", likelihood_scale=1.0)
    person = torch.from_numpy(data.values(np.arange(0, 40, 2)).mean(0))
    vae.decoder = Fixed(person)
    state = torch.get_rng_state()
    found = report(vae.train(), data)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    assert (found.names, found.counts) == (["person", "dog"], [10, 10])
    np.testing.assert_array_equal(found.seen_as["originals"], np.eye(2))
    np.testing.assert_array_equal(found.seen_as["reconstructions"], [[1, 0], [1, 0]])
    assert found.warnings() == [
        "dog is reconstructed as person: 100% of its reconstructions (and 0% of its originals) are nearest "
        "to the mean of person"
    ]
    for i, label in enumerate((0, 1)):
        rows = np.arange(40, 60)[np.arange(40, 60) % 2 == label]
        squares = np.square(data.values(rows) - person.numpy()).astype(float)
        assert found.measures["mse"][i] == pytest.approx(squares.mean(), rel=1e-5)
        distortion = 0.5 * squares.sum((1, 2, 3)).mean() + 72 * np.log(2 * np.pi)  # σ = 1 and 144 pixels
        assert found.measures["distortion"][i] == pytest.approx(distortion, rel=1e-5)
        q = vae.encode(data.values(rows))
        rate = 0.5 * (q.mean**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum(1).mean()  # type: ignore[attr-defined]
        assert found.measures["rate"][i] == pytest.approx(float(rate), rel=1e-4)
    assert json.loads(json.dumps(found.as_dict()))["classes"] == ["person", "dog"]


def test_classes_are_recognised_by_the_means_of_their_codes(data: Dataset, vae: VAE) -> None:
    found = report(vae, data)
    train, test = data.indices("train"), data.indices("test")
    codes = {part: vae.embed(data.values(rows)).numpy() for part, rows in (("train", train), ("test", test))}
    means = np.stack([codes["train"][train % 2 == label].mean(0) for label in (0, 1)])
    nearest_mean = np.linalg.norm(codes["test"][:, None] - means, axis=2).argmin(1)
    for label in (0, 1):
        share = (nearest_mean[test % 2 == label] == 1).mean()
        assert found.seen_as["codes"][label, 1] == pytest.approx(share)
    assert found.warnings() == [] or "reconstructed as" in found.warnings()[0]


def test_rows_of_numbers_have_no_ssim() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    data = Dataset("rows", x, split=np.arange(20) % 2, labels=np.arange(20) // 2 % 2, scale=1)
    vae = VAE.build(shape=(4,), latent_dim=2, hidden=[8], likelihood="gaussian")
    assert set(report(vae, data).measures) == {"distortion", "distortion_stderr", "rate", "mse"}
    assert report(vae, data).names == ["0", "1"]


def test_reports_that_cannot_be_made(vae: VAE, data: Dataset) -> None:
    with pytest.raises(UsageError, match="no examples to measure"):
        report(vae, data, rows=np.zeros(0, np.int64))
    assert data.labels is not None
    labels = np.where(data.split == 1, 1, 0)
    with pytest.raises(UsageError, match="no training example has label 'dog'"):
        report(vae, dataclasses.replace(data, labels=labels))


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_errors_of_a_class_are_the_spread_over_seeds(data: Dataset, prior: str) -> None:
    """A mean of 4 draws of each of 10 examples, again and again; 40 spreads agree to about 11 %."""
    torch.manual_seed(0)
    vae = build(likelihood="gaussian", likelihood_scale=1.0, prior=prior)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter *= 4  # so that the draws matter
    found = [report(vae, data, seed=seed).measures for seed in range(40)]
    for name in ("distortion", "rate"):
        spread = np.std([one[name] for one in found], axis=0, ddof=1)
        if name == "rate" and prior == "normal":  # in closed form
            assert "rate_stderr" not in found[0]
            np.testing.assert_allclose(spread, 0, atol=1e-5)
            continue
        stated = np.sqrt(np.mean([np.square(one[f"{name}_stderr"]) for one in found], axis=0))
        assert (stated > 0).all()
        np.testing.assert_allclose(spread, stated, rtol=0.4)
