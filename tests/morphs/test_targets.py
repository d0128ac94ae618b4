"""Where to go: planted directions, members of classes, codes made better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.latent.arrays import loss_of_images
from elboroom.latent.targets import attribute_slope, attribute_vector, class_target, refine
from elboroom.models.vae import VAE


def planted(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels, direction = np.arange(n) % 3, np.array([3.0, -1.0, 0.0, 0.5])
    noise = rng.normal(size=(n, 4))
    for label in range(3):
        noise[labels == label] -= noise[labels == label].mean(0)
    return noise + labels[:, None] * direction, labels, direction


def test_attributes_find_planted_directions() -> None:
    codes, labels, direction = planted()
    # The noise has mean 0 in each class, so the differences are exact.
    np.testing.assert_allclose(attribute_vector(codes, labels, 1, 0), direction, atol=1e-12)
    np.testing.assert_allclose(attribute_vector(codes, labels, 2, 0), 2 * direction, atol=1e-12)
    np.testing.assert_allclose(attribute_vector(codes, labels, 2), 1.5 * direction, atol=1e-12)
    np.testing.assert_allclose(attribute_slope(codes, labels), direction, atol=1e-12)


def test_the_slope_of_a_label_is_the_difference_of_means_and_skips_the_unknown() -> None:
    codes, labels, _ = planted()
    np.testing.assert_allclose(
        attribute_slope(codes, labels == 2), attribute_vector(codes, labels, 2), atol=1e-12
    )
    ages = np.where(np.arange(300) < 100, np.nan, labels.astype(float))
    np.testing.assert_allclose(
        attribute_slope(codes, ages), attribute_slope(codes[100:], labels[100:]), atol=1e-12
    )


def test_attributes_that_cannot_be_found() -> None:
    codes, labels, _ = planted()
    with pytest.raises(UsageError, match="no example has label 7"):
        attribute_vector(codes, labels, 7)
    with pytest.raises(UsageError, match="no example has label 7"):
        attribute_vector(codes, labels, 0, 7)
    with pytest.raises(UsageError, match="no example has another label"):
        attribute_vector(codes, np.zeros(300), 0)
    with pytest.raises(UsageError, match=r"got values \(2,\) for 300 codes"):
        attribute_slope(codes, np.zeros(2))
    with pytest.raises(UsageError, match="300 known values that do not vary"):
        attribute_slope(codes, np.ones(300))


def test_members_of_a_class() -> None:
    codes, labels, _ = planted()
    mean = class_target(codes, labels, 1, "mean")
    assert mean.row is None
    np.testing.assert_allclose(mean.code, codes[labels == 1].mean(0))
    of = codes[0]
    near = class_target(codes, labels, 1, of=of)
    distances = np.where(labels == 1, np.linalg.norm(codes - of, axis=1), np.inf)
    assert near.row == distances.argmin()
    np.testing.assert_array_equal(near.code, codes[near.row])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    rows = {class_target(codes, labels, 1, "random", seed=seed).row for seed in range(30)}
    assert len(rows) > 15
    assert all(labels[row] == 1 for row in rows)
    assert (
        class_target(codes, labels, 1, "random", seed=3).row
        == class_target(codes, labels, 1, "random", seed=3).row
    )
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_members_that_cannot_be_chosen() -> None:
    codes, labels, _ = planted()
    with pytest.raises(UsageError, match="no example has label 9"):
        class_target(codes, labels, 9, "mean")
    with pytest.raises(UsageError, match="needs a code"):
        class_target(codes, labels, 1)
    with pytest.raises(UsageError, match="how = 'neerest'; did you mean 'nearest'"):
        class_target(codes, labels, 1, "neerest")  # type: ignore[arg-type]


def objective(vae: VAE, x: np.ndarray, z: torch.Tensor) -> torch.Tensor:
    return -vae.decode(z).log_prob(vae.as_input(x)) - vae.prior.log_prob(z)


def test_refined_codes_are_better_and_leave_no_trace(vae: VAE, data: Dataset) -> None:
    vae.train()
    vae.decoder.eval()
    x = data.values(np.arange(5))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    modes = [module.training for module in vae.modules()]
    state = torch.get_rng_state()
    start = vae.embed(x)
    z = refine(vae, x, steps=40)
    assert (objective(vae, x, z) < objective(vae, x, start) - 0.05).all()
    assert not z.requires_grad
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())
    assert [module.training for module in vae.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())


@pytest.mark.parametrize("lr", [0.05, 50.0])
def test_refined_codes_are_never_worse(vae: VAE, data: Dataset, lr: float) -> None:
    x = data.values(np.arange(5))
    assert torch.equal(refine(vae, x, steps=0), vae.embed(x))
    elsewhere = torch.full((5, 3), 2.0)
    for start in (vae.embed(x), elsewhere):
        worst = objective(vae, x, start) + 1e-4
        for steps in (1, 2, 10):
            better = objective(vae, x, refine(vae, x, start, steps=steps, lr=lr))
            assert (better <= worst).all()
            worst = better + 1e-4  # float32 sums of 144 pixels


def test_refinement_finds_the_known_optimum_of_a_linear_model() -> None:
    """With x ~ N(Wz + c, σ²) the best code solves (WᵀW/σ² + I) z = Wᵀ(x − c)/σ²."""
    torch.manual_seed(0)
    vae = VAE.build(shape=(6,), latent_dim=2, hidden=[], likelihood="gaussian", likelihood_scale=0.5).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    layer = next(m for m in vae.decoder.modules() if isinstance(m, torch.nn.Linear))
    w, c = layer.weight.detach(), layer.bias.detach()
    exact = torch.linalg.solve(w.T @ w / 0.25 + torch.eye(2), ((x - c) @ w / 0.25).T).T
    torch.testing.assert_close(refine(vae, x, steps=1500, lr=0.02), exact, rtol=0, atol=1e-4)


def test_refinements_that_cannot_be(vae: VAE, data: Dataset) -> None:
    x = data.values(np.arange(2))
    for wrong in ({"steps": -1}, {"lr": 0.0}, {"lr": float("nan")}):
        with pytest.raises(UsageError, match="0 steps or more and a learning rate above 0"):
            refine(vae, x, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"got codes \(3, 3\); give \(2, 3\)"):
        refine(vae, x, torch.zeros(3, 3))


@pytest.mark.parametrize("posterior", ["vq", "fsq"])
def test_codes_of_a_codebook_are_not_refined(posterior: str) -> None:
    more = {"code_grid": (2,)} | ({"code_channels": 4} if posterior == "vq" else {"fsq_levels": (5, 3)})
    vae = VAE.build(shape=(5,), hidden=[4], posterior=posterior, **more)
    x = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(refine(vae, x, steps=0), vae.embed(x))
    with pytest.raises(UsageError, match="entries of a codebook or grid"):
        refine(vae, x, steps=1)
    assert loss_of_images(vae) == "−ELBO"
