"""Penalties on detail by hand, and the critic of patches."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from elboroom.config import Config
from elboroom.config.objective import ObjectiveConfig
from elboroom.distributed.noise import part_of_batch
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.detail import focal_frequency, gradient_difference, texture
from elboroom.objectives.patch_critic import PatchCritic, last_weight
from elboroom.objectives.recipes import recipe
from elboroom.training.prepare import resolve


def model(shape: tuple[int, ...] = (16, 20, 3), **fields: object) -> VAE:
    torch.manual_seed(0)
    options = {"network": "spatial", "likelihood": "gaussian", "conv_width": 4, "conv_levels": 1, **fields}
    vae = VAE.build(shape=shape, **options)
    with torch.no_grad():
        last_weight(vae.decoder).normal_(std=0.1)
    return vae


def passed(vae: VAE, k: int = 2, b: int = 3) -> Terms:
    torch.manual_seed(1)
    return vae(torch.rand(b, *vae.shape), k)


def pictures(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    means = terms.likelihood.mean.detach().double().numpy()
    return np.broadcast_to(terms.x.double().numpy(), means.shape), means


def halved(images: np.ndarray) -> np.ndarray:
    *leading, h, w, c = images.shape
    return images.reshape(*leading, h // 2, 2, w // 2, 2, c).mean((-4, -2))


def test_gradient_difference_by_hand() -> None:
    terms = passed(model())
    x, y = pictures(terms)
    scales = []
    for _ in range(3):
        if min(x.shape[-3:-1]) < 4:
            break
        parts = [np.abs(np.diff(x, axis=axis) - np.diff(y, axis=axis)).mean() for axis in (-3, -2)]
        scales.append(sum(parts))
        x, y = (halved(images) if images.shape[-3] >= 8 else images[..., :0, :, :] for images in (x, y))
    assert len(scales) == 3
    expected = np.mean(scales) * 16 * 20 * 3
    assert gradient_difference(terms).item() == pytest.approx(expected, rel=1e-5)


def test_a_blur_costs_more_in_gradients_than_in_squares() -> None:
    """A shifted brightness has no gradients; a blur of the same squared error has."""
    x = torch.from_numpy(np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((1, 1)))[None, ..., None]).float()
    values = []
    for y in (x + 0.5, torch.full_like(x, 0.5)):
        terms = passed(model((8, 8, 1)), 1, 1)
        object.__setattr__(terms, "x", x)
        terms.likelihood.mean.data.copy_(y[None])
        values.append((gradient_difference(terms).item(), float((x - y).square().sum())))
    assert values[0][1] == values[1][1]
    assert values[0][0] == pytest.approx(0, abs=1e-4)
    assert values[1][0] > 10


def test_focal_frequency_by_hand() -> None:
    terms = passed(model())
    x, y = pictures(terms)
    total = []
    for a, b in zip(x.reshape(-1, *x.shape[-3:]), y.reshape(-1, *y.shape[-3:]), strict=True):
        value = 0.0
        for channel in range(3):
            difference = np.fft.fft2(a[..., channel] - b[..., channel]) / np.sqrt(16 * 20)
            weight = np.abs(difference) / np.abs(difference).max()
            value += float((weight * np.abs(difference) ** 2).sum())
        total.append(value)
    assert focal_frequency(terms).item() == pytest.approx(np.mean(total), rel=1e-4)


def test_its_gradient_in_double_precision_is_that_of_numpy() -> None:
    """A step along a direction, with the weights held, to more digits than single precision has."""
    rng = np.random.default_rng(0)
    x, y, step = rng.random((3, 8, 12, 2)), rng.random((2, 3, 8, 12, 2)), rng.normal(size=(2, 3, 8, 12, 2))
    drawn = torch.from_numpy(y).requires_grad_()
    terms = SimpleNamespace(x=torch.from_numpy(x), likelihood=SimpleNamespace(mean=drawn))
    value = focal_frequency(terms)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(value, drawn)

    def spectrum(y: np.ndarray) -> np.ndarray:
        return np.abs(np.fft.fft2(x - y, axes=(2, 3), norm="ortho"))

    weight = spectrum(y) / spectrum(y).max((2, 3), keepdims=True)

    def held(y: np.ndarray) -> float:
        return float((weight * spectrum(y) ** 2).sum((2, 3, 4)).mean())

    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(held(y), rel=1e-12)
    slope = (held(y + 1e-6 * step) - held(y - 1e-6 * step)) / 2e-6
    assert (gradient.numpy() * step).sum() == pytest.approx(slope, rel=1e-8)


def test_its_weights_are_constants() -> None:
    """The gradient is that of Σ w |F|² with w fixed: in the spectrum, 2 w F."""
    vae = model((8, 8, 1))
    terms = passed(vae, 1, 1)
    mean = terms.likelihood.mean
    (slope,) = torch.autograd.grad(focal_frequency(terms), mean)
    difference = torch.fft.fft2((mean - terms.x)[0, 0, ..., 0].detach(), norm="ortho")
    weight = difference.abs() / difference.abs().max()
    expected = torch.fft.ifft2(2 * weight * difference, norm="ortho").real
    torch.testing.assert_close(slope[0, 0, ..., 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 20, 3), (7, 12, 1), (4, 6, 2)])
def test_texture_by_hand(size: tuple[int, int, int]) -> None:
    """SciPy's cosine transform of each block, and loops over places."""
    terms = passed(model(size), 1, 2)
    x, y = pictures(terms)
    block = min(8, *size[:2])
    fine = np.hypot(*np.indices((block, block))) >= 0.5 * block

    def spectra(image: np.ndarray) -> np.ndarray:
        rows = []
        for i in range(0, image.shape[0] - block + 1, block // 2):
            row = [
                dctn(image[i : i + block, j : j + block], axes=(0, 1), norm="ortho")[fine] ** 2
                for j in range(0, image.shape[1] - block + 1, block // 2)
            ]
            rows.append(row)
        energy = np.array(rows)
        tall, wide = (min(3, count) for count in energy.shape[:2])
        places = itertools.product(
            range(0, energy.shape[0] - tall + 1, 2), range(0, energy.shape[1] - wide + 1, 2)
        )
        return np.array([energy[i : i + tall, j : j + wide].mean((0, 1)) for i, j in places])

    values = []
    for image, drawn in zip(x.reshape(-1, *size), y.reshape(-1, *size), strict=True):
        ratio = (spectra(image) + (8 / 255) ** 2) / (spectra(drawn) + (8 / 255) ** 2)
        values.append(0.5 * (ratio - np.log(ratio) - 1).mean())
    assert texture(terms).item() == pytest.approx(np.mean(values) * np.prod(size), rel=1e-3)


def test_texture_is_least_at_the_mean_energy_and_does_not_ask_for_the_detail_itself() -> None:
    """Of independent noise with several standard deviations, that of the pictures costs least."""
    shape = (16, 32, 32, 1)
    random = np.random.default_rng(0)
    terms = passed(model(shape[1:]), 1, 16)
    noise = {spread: torch.from_numpy(random.normal(0.5, spread, shape)).float() for spread in (0.05, 0.15)}
    either = torch.where(torch.arange(16)[:, None, None, None] < 8, noise[0.05], noise[0.15])
    object.__setattr__(terms, "x", either)
    costs = {}
    rms = math.sqrt((0.05**2 + 0.15**2) / 2)
    for spread in (0.0, 0.6 * rms, rms, 1.6 * rms):
        drawn = random.normal(0.5, 1.0, (16, 32, 32, 1))
        terms.likelihood.mean.data.copy_(torch.from_numpy(0.5 + spread * (drawn - 0.5))[None])
        costs[spread] = texture(terms).item()
    assert min(costs, key=costs.__getitem__) == rms
    assert costs[0.0] > 10 * costs[rms]
    terms.likelihood.mean.data.copy_(terms.x[None])
    assert texture(terms).item() == 0


def critic_of(vae: VAE) -> PatchCritic:
    torch.manual_seed(3)
    return PatchCritic(vae.shape, vae.decoder, width=4)  # type: ignore[arg-type]


def test_texture_is_the_same_under_autocast() -> None:
    terms = passed(model((16, 16, 3)), 1, 2)
    terms.x.copy_(0.9 + terms.x / 50)  # bright, with little detail
    exact = texture(terms)
    with torch.autocast("cpu", torch.bfloat16):
        assert texture(terms).item() == pytest.approx(exact.item(), rel=1e-6)


def test_images_of_three_pixels_have_no_texture() -> None:
    terms = passed(model((4, 4, 1)), 1, 2)
    object.__setattr__(terms, "x", terms.x[:, :3])
    terms.likelihood.mean.data = terms.likelihood.mean.data[:, :, :3]
    with pytest.raises(UsageError, match="texture looks at images of at least 4 pixels"):
        texture(terms)


def test_the_critics_gradient_is_as_long_as_the_distortions_at_the_last_layer() -> None:
    vae = model()
    critic, terms = critic_of(vae), passed(vae)
    (of_penalty,) = torch.autograd.grad(critic(terms), last_weight(vae.decoder), retain_graph=True)
    (of_distortion,) = torch.autograd.grad(terms.distortion.mean(), last_weight(vae.decoder))
    assert of_penalty.norm().item() == pytest.approx(of_distortion.norm().item(), rel=0.02)


def test_a_new_critic_guesses_within_the_hinge() -> None:
    """For pictures whose pixels have mean ½ and standard deviation ¼, over critics."""
    images = torch.from_numpy(np.random.default_rng(0).normal(0.5, 0.25, (4, 3, 64, 64))).to(
        torch.get_default_dtype()
    )
    vae = model((64, 64, 3))
    for layers in (1, 3):
        inner: list[Tensor] = []
        for seed in range(20):
            torch.manual_seed(seed)
            critic = PatchCritic((64, 64, 3), vae.decoder, width=16, layers=layers)
            inner.append(critic.network(images)[..., 1:-1, 1:-1].detach().flatten())
        logits = torch.cat(inner)
        assert logits.square().mean().sqrt().item() == pytest.approx(0.27, abs=0.08)


def test_neither_trains_the_other() -> None:
    vae = model()
    critic, terms = critic_of(vae), passed(vae)
    critic(terms).backward(retain_graph=True)
    assert all(weight.grad is None for weight in critic.parameters())
    assert last_weight(vae.decoder).grad is not None
    vae.zero_grad()
    critic.own_loss(terms).backward()
    assert all(weight.grad is not None for weight in critic.parameters())
    assert all(weight.grad is None for weight in vae.parameters())


def test_the_hinge_loss_by_hand() -> None:
    vae = model()
    critic, terms = critic_of(vae), passed(vae)

    def logits(images: Tensor) -> Tensor:
        found: Tensor = critic.network(images.permute(0, 3, 1, 2))
        return found

    real, drawn = logits(terms.x), logits(terms.likelihood.mean.flatten(0, 1))
    expected = 0.5 * ((1 - real).clamp(min=0).mean() + (1 + drawn).clamp(min=0).mean())
    torch.testing.assert_close(critic.own_loss(terms), expected)
    with torch.no_grad():
        assert critic(terms).item() == pytest.approx(-drawn.mean().item(), rel=1e-5)


def test_a_critic_learns_to_tell_and_its_penalty_makes_pictures_more_real() -> None:
    vae = model()
    critic, terms = critic_of(vae), passed(vae, 1, 8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = critic.own_loss(terms)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    (slope,) = torch.autograd.grad(critic(terms), terms.likelihood.mean)
    step = terms.likelihood.mean.detach() - 0.1 * slope / slope.norm()
    seen = [critic.network(y[0].permute(0, 3, 1, 2)).mean().item() for y in (terms.likelihood.mean, step)]
    assert seen[1] > seen[0]


def test_a_copied_critic_still_scales_by_its_own_models_decoder() -> None:
    vae = model()
    objective = Objective.from_config(
        ObjectiveConfig(penalties={"patch_critic": 0.5}), 10, vae=vae, examples=100
    )
    critic = objective.penalties["patch_critic"]
    assert isinstance(critic, PatchCritic)
    assert critic.decoder[0] is vae.decoder
    assert not any(weight is last_weight(vae.decoder) for weight in objective.parameters())
    assert set(critic.state_dict()) == set(copy.deepcopy(critic).state_dict())


def test_the_critic_counts_from_its_start_on() -> None:
    config = ObjectiveConfig(
        penalties={"patch_critic": 0.5, "focal_frequency": 2.0}, critic_start=0.5, critic_start_epochs=2.0
    )
    objective = Objective.from_config(config, 10, vae=model(), examples=100)
    assert [objective.coefficients(step)[1:] for step in (0, 20, 21, 100)] == [
        *[pytest.approx([0.0, 2.0])] * 2,
        *[pytest.approx([0.5, 2.0])] * 2,
    ]
    with pytest.raises(UsageError, match="length is not known"):
        Objective.from_config(
            ObjectiveConfig(penalties={"patch_critic": 0.5}, critic_start=0.5), 10, vae=model(), examples=9
        )
    with pytest.raises(UsageError, match="has no effect without a critic"):
        Config().updated(critic_start=0.5, penalties={"focal_frequency": 1.0})


def test_the_start_is_kept_in_epochs() -> None:
    from elboroom.data import Dataset

    data = Dataset(
        "d", np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3), np.uint8), np.zeros(20), scale=255
    )
    config = recipe("tokenizer", epochs=8, critic_start=0.25, attention=False, conv_width=4)
    vae = VAE.build(config.model, shape=data.shape, scale=255.0)
    found = resolve(vae, data, config)
    assert found.objective.critic_start_epochs == 2
    longer = resolve(vae, data, found.updated(epochs=80))
    assert longer.objective.critic_start_epochs == 2


@pytest.mark.parametrize("penalty", ["gradient_difference", "focal_frequency", "texture", "patch_critic"])
def test_rows_have_no_detail(penalty: str) -> None:
    rows = VAE.build(shape=(5,), likelihood="gaussian")
    with pytest.raises(UsageError, match=f"penalty {penalty}"):
        Objective.from_config(ObjectiveConfig(penalties={penalty: 1.0}), 10, vae=rows, examples=10)


def test_the_losses_of_the_recipes() -> None:
    """L1 + 10⁻⁶ rate + gradients + ½ critic once it counts, and the ELBO with ½ critic."""
    shape = (16, 16, 3)
    for name, step, parts in (("tokenizer", 49, 0.0), ("tokenizer", 100, 0.5), ("vae-gan", 0, 0.5)):
        config = recipe(name, conv_width=4)
        if name == "tokenizer":
            config = config.updated(critic_start_epochs=5.0)
        torch.manual_seed(0)
        vae = VAE.build(config.model, shape=shape)
        objective = Objective.from_config(config.objective, 10, vae=vae, examples=50)
        terms = passed(vae, 1, 4)
        loss = objective(terms, torch.tensor(objective.coefficients(step)))
        expected = parts * objective.penalties["patch_critic"](terms)
        if name == "tokenizer":
            off = (terms.x - terms.likelihood.mean[0]).abs()
            l1 = (off + math.log(2)).sum((1, 2, 3)).mean()  # the density of Laplace(x̂, 1)
            expected = expected + l1 + 1e-6 * terms.rate.mean() + gradient_difference(terms)
        else:
            expected = expected + (terms.distortion + terms.rate).mean()
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-3)


def test_processes_scale_by_the_gradients_of_the_whole_batch() -> None:
    """Two halves, each of which sees the other's gradients, use the scale of the whole."""
    vae = model()
    critic = critic_of(vae)
    torch.manual_seed(5)
    x = torch.rand(4, *vae.shape)
    z = vae.infer(x).mean[None].detach()

    def terms_of(rows: slice) -> Terms:
        part = vae(x[rows], 1)
        fixed = vae.generate(z[:, rows])
        return dataclasses.replace(part, likelihood=fixed, z=z[:, rows])

    def gradients(rows: slice) -> list[Tensor]:
        terms = terms_of(rows)
        penalty = -critic.network(terms.likelihood.mean[0].permute(0, 3, 1, 2)).mean()
        last = last_weight(vae.decoder)
        return [
            torch.autograd.grad(value, last, retain_graph=True)[0]
            for value in (terms.distortion.mean(), penalty)
        ]

    whole = terms_of(slice(0, 4))
    raw = -critic.network(whole.likelihood.mean[0].permute(0, 3, 1, 2)).mean()
    expected = (critic(whole) / raw).item()
    other = iter([gradient * 0.5 for gradient in gradients(slice(2, 4))])
    with part_of_batch(0, 2, 4, lambda part: part + next(other)):
        half = terms_of(slice(0, 2))
        raw = -critic.network(half.likelihood.mean[0].permute(0, 3, 1, 2)).mean()
        assert (critic(half) / raw).item() == pytest.approx(expected, rel=1e-4)
