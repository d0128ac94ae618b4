"""What one does with a VAE: deterministic where it says so, right in shape and dtype, and without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributions, nn

from elboroom.errors import UsageError
from elboroom.model import VAE
from elboroom.probability import DiagonalGaussianHead, StandardNormal

from .known import FLOAT32, FLOAT64, assert_equal

SHAPES = [(1,), (7,), (5, 3, 1), (4, 7, 3), (2, 1, 1)]

# Every method for use, as a call on a model and a batch of at least two examples.
USES: dict[str, Callable[[VAE, Any], Any]] = {
    "encode": lambda vae, x: vae.encode(x).mean,
    "decode": lambda vae, x: vae.decode(vae.embed(x)).mean,
    "embed": lambda vae, x: vae.embed(x),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "sample": lambda vae, _: vae.sample(3),
    "observe": lambda vae, _: vae.sample(3, observe=True),
    "interpolate": lambda vae, x: vae.interpolate(x[0], x[1], 5),
    "elbo": lambda vae, x: vae.elbo(x, 2),
    "nll": lambda vae, x: vae.nll(x, 3).value,
}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)
BATCH_USES = ("encode", "embed", "reconstruct", "elbo", "nll")
each_batch_use = pytest.mark.parametrize("use", [USES[name] for name in BATCH_USES], ids=BATCH_USES)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def small(shape: tuple[int, ...] = (5, 3, 1), **fields: Any) -> VAE:
    return VAE.build(shape=shape, hidden=[6, 4], latent_dim=3, **fields)


# Deterministic codes and pictures


@each_shape
def test_embed_is_the_posterior_mean_at_every_call(shape: tuple[int, ...]) -> None:
    vae, x = small(shape), torch.rand(4, *shape)
    assert_equal(vae.embed(x), vae.encode(x).mean)
    assert_equal(vae.embed(x), vae.embed(x))
    assert vae.embed(x).shape == (4, 3)


@each_shape
def test_reconstruct_decodes_the_embedding(shape: tuple[int, ...]) -> None:
    vae, x = small(shape), torch.rand(4, *shape)
    assert_equal(vae.reconstruct(x), vae.decode(vae.embed(x)).mean)
    assert vae.reconstruct(x).shape == (4, *shape)


@each_shape
@pytest.mark.parametrize("steps", [2, 5])
def test_interpolation_ends_at_the_reconstructions(shape: tuple[int, ...], steps: int) -> None:
    vae, x = small(shape), torch.rand(2, *shape)
    path = vae.interpolate(x[0], x[1], steps)
    assert path.shape == (steps, *shape)
    assert_equal(path[[0, -1]], vae.reconstruct(x), **FLOAT32)  # matrix products of another batch size


def test_interpolation_is_straight_in_codes() -> None:
    vae, x = small(), torch.rand(2, 5, 3, 1)
    a, b = vae.embed(x)
    path = vae.interpolate(x[0], x[1], 5)
    assert_equal(path[2], vae.decode((a + b) / 2).mean, **FLOAT32)
    assert_equal(path[1], vae.decode(0.75 * a + 0.25 * b).mean, **FLOAT32)


@pytest.mark.parametrize("leading", [(), (2,), (2, 4)], ids=str)
def test_decode_takes_codes_of_any_leading_shape(leading: tuple[int, ...]) -> None:
    vae, z = small(), torch.randn(*leading, 3)
    mean = vae.decode(z).mean
    one_by_one = torch.stack([vae.decode(code).mean for code in z.reshape(-1, 3)])
    assert_equal(mean, one_by_one.reshape(*leading, 5, 3, 1), **FLOAT32)


# Samples


@each_shape
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("observe", [False, True])
def test_samples_have_the_shape_of_the_data(shape: tuple[int, ...], likelihood: str, observe: bool) -> None:
    vae = small(shape, likelihood=likelihood)
    assert vae.sample(0, observe=observe).shape == (0, *shape)
    assert vae.sample(3, observe=observe).shape == (3, *shape)


def test_a_bernoulli_is_observed_as_zeros_and_ones() -> None:
    vae = small()
    assert set(vae.sample(20, observe=True).unique().tolist()) == {0.0, 1.0}
    means = vae.sample(20)
    assert ((means > 0) & (means < 1)).all()


def test_samples_are_decoded_draws_from_the_prior() -> None:
    vae = small()
    torch.manual_seed(1)
    pictures = vae.sample(4)
    torch.manual_seed(1)
    assert_equal(pictures, vae.decode(vae.prior.sample(4)).mean)


def test_observing_adds_the_likelihoods_noise() -> None:
    vae = small((2000,), likelihood="gaussian", likelihood_scale=0.3)
    torch.manual_seed(1)
    pictures = vae.sample(50)
    torch.manual_seed(1)
    noise = vae.sample(50, observe=True) - pictures
    # 1e5 draws: the relative error of a standard deviation is 1/√2e5 = 0.22 %, five times that
    assert noise.std().item() == pytest.approx(0.3, rel=0.011)


# Terms


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.usefixtures("float64")
def test_terms_are_what_torchs_distributions_say(likelihood: str) -> None:
    vae, x = small(likelihood=likelihood), torch.bernoulli(torch.full((4, 5, 3, 1), 0.5))
    terms = vae(x, num_samples=3)
    mean, raw = vae.encoder(x).chunk(2, -1)
    q = distributions.Normal(mean, nn.functional.softplus(raw) + 1e-6)
    p = distributions.Normal(torch.zeros(3), 1.0)
    out = vae.decoder(terms.z.reshape(12, 3)).reshape(3, 4, 5, 3, 1)
    of_x = (
        distributions.Bernoulli(logits=out)
        if likelihood == "bernoulli"
        else distributions.Normal(out, 0.5**0.5)
    )
    log_likelihood = of_x.log_prob(x).sum((2, 3, 4))
    rate = distributions.kl_divergence(q, p).sum(-1)
    assert_equal(terms.log_likelihood, log_likelihood, **FLOAT64)
    assert_equal(terms.log_q, q.log_prob(terms.z).sum(-1), **FLOAT64)
    assert_equal(terms.rate, rate, **FLOAT64)
    assert_equal(terms.distortion, -log_likelihood.mean(0), **FLOAT64)
    weights = log_likelihood + p.log_prob(terms.z).sum(-1) - q.log_prob(terms.z).sum(-1)
    assert_equal(terms.log_weights, weights, **FLOAT64)
    assert terms.log_weights is terms.log_weights  # computed once
    assert terms.distortion is terms.distortion


def test_terms_are_differentiable_in_every_parameter() -> None:
    vae = small(likelihood="gaussian", learn_scale=True)
    terms = vae(torch.rand(4, 5, 3, 1), 2)
    (terms.distortion + terms.rate).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vae.parameters())
    assert all(p.grad.abs().sum() > 0 for p in vae.parameters() if p.grad is not None)


def test_elbo_is_minus_distortion_minus_rate() -> None:
    vae, x = small(), torch.rand(4, 5, 3, 1)
    torch.manual_seed(1)
    elbo = vae.elbo(x, 3)
    torch.manual_seed(1)
    terms = vae(x, 3)
    assert_equal(elbo, -(terms.distortion + terms.rate))


# Inputs


@each_shape
def test_uint8_is_the_float_over_the_scale(shape: tuple[int, ...]) -> None:
    vae = small(shape)
    pixels = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    assert_equal(vae.as_input(pixels), pixels.float() / 255)
    assert_equal(vae.embed(pixels), vae.embed(pixels.float() / 255))
    assert_equal(vae.embed(pixels.numpy()), vae.embed((pixels.float() / 255).numpy()))


@pytest.mark.parametrize("scale", [16.0, 1.0, 0.5])
def test_scales_other_than_255(scale: float) -> None:
    pixels = torch.randint(0, 17, (4, 5, 3, 1), dtype=torch.uint8)
    assert_equal(small(scale=scale).as_input(pixels), pixels.float() / scale)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.float64])
def test_other_types_are_in_model_units(dtype: torch.dtype) -> None:
    x = torch.randint(0, 2, (4, 5, 3, 1)).to(dtype)
    assert_equal(small(scale=16).as_input(x), x.float())


def test_input_is_left_as_it_was() -> None:
    pixels = np.full((2, 5, 3, 1), 200, np.uint8)
    for use in USES.values():
        use(small(), pixels)
    assert (pixels == 200).all()


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    "strided": lambda x: np.repeat(x, 2, 0)[::2],
    "flipped": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_any_view_that_numpy_makes_is_taken(view: Callable[[Any], Any], dtype: type) -> None:
    """A read-only one is what a memory map gives, a flipped one is how pictures are mirrored."""
    vae, x = small(), np.random.default_rng(0).integers(0, 256, (4, 5, 3, 1)).astype(dtype)
    assert_equal(vae.as_input(view(x)), vae.as_input(x))
    assert_equal(vae.decode(view(x[..., [0, 0, 0]])).mean, vae.decode(x[..., [0, 0, 0]]).mean, **FLOAT32)


@each_batch_use
def test_no_examples_give_no_numbers(use: Callable[..., Tensor]) -> None:
    assert len(use(small(), torch.rand(0, 5, 3, 1))) == 0


@each_shape
@each_batch_use
def test_a_wrong_shape_is_an_error_that_names_both(shape: tuple[int, ...], use: Callable[..., Any]) -> None:
    with pytest.raises(UsageError) as error:
        use(small(shape), torch.rand(4, 9, *shape))
    text = str(error.value)
    assert "\n" not in text
    assert str((4, 9, *shape)) in text
    assert f"(n, {', '.join(map(str, shape))})" in text


@pytest.mark.parametrize("wrong", [(), (3,), (5, 3, 1), (2, 5, 3), (2, 3, 5, 1), (2, 5, 3, 3)], ids=str)
def test_shapes_that_are_nearly_right_are_wrong(wrong: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"the model takes \(n, 5, 3, 1\)"):
        small().embed(torch.zeros(wrong))


@pytest.mark.parametrize("wrong", [(), (2,), (3, 4)], ids=str)
def test_a_code_of_the_wrong_length_is_an_error_that_names_both(wrong: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as error:
        small().decode(np.zeros(wrong))
    assert str(error.value) == f"got codes of shape {wrong}; the model takes (..., 3)"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@each_use
def test_the_models_dtype_is_kept(use: Callable[..., Tensor], dtype: torch.dtype) -> None:
    vae = small(likelihood="gaussian").to(dtype)
    for x in (torch.rand(2, 5, 3, 1), torch.zeros(2, 5, 3, 1, dtype=torch.uint8)):
        out = use(vae, x)
        assert out.dtype == dtype
        assert torch.isfinite(out).all()


# Nothing stays behind


def traces(vae: VAE) -> dict[str, Any]:
    """All of a model's state that an evaluation could disturb."""
    return {
        "modes": {name: module.training for name, module in vae.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in vae.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.tolist() for name, p in vae.named_parameters()},
        "weights": {name: t.tolist() for name, t in vae.state_dict().items()},
        "grad_enabled": torch.is_grad_enabled(),
    }


def with_mixed_modes() -> VAE:
    """A model in training, with a part frozen, a part in evaluation mode, and gradients pending."""
    vae = small(normalization="batch")
    vae.encoder.eval()
    vae.encoder[2].train()
    vae.decoder[1].eval()
    vae.decoder[0].weight.requires_grad_(False)
    vae.decoder[-2].bias.grad = torch.ones(15)
    return vae


@each_use
@pytest.mark.parametrize("make", [with_mixed_modes, lambda: small(normalization="batch").eval()])
def test_evaluation_leaves_no_trace(use: Callable[..., Tensor], make: Callable[[], VAE]) -> None:
    vae, x = make(), torch.rand(4, 5, 3, 1, requires_grad=True)
    before = traces(vae)
    assert not use(vae, x).requires_grad
    assert x.grad is None
    assert traces(vae) == before


@each_use
def test_evaluation_that_fails_inside_leaves_no_trace(use: Callable[..., Tensor]) -> None:
    class Broken(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise RuntimeError("out of memory")

    vae, x = with_mixed_modes(), torch.rand(4, 5, 3, 1)
    vae.encoder.append(Broken())
    vae.decoder.append(Broken())
    before = traces(vae)
    with pytest.raises(RuntimeError, match="out of memory"):
        use(vae, x)
    assert traces(vae) == before


@each_use
def test_evaluation_works_where_batch_statistics_would_not(use: Callable[..., Tensor]) -> None:
    """Batch normalisation refuses a batch of one in training mode; evaluation mode has no such batch."""
    vae = small(normalization="batch").train()
    x = torch.rand(2, 5, 3, 1)
    torch.manual_seed(1)
    training = use(vae, x)
    torch.manual_seed(1)
    assert_equal(training, use(vae.eval(), x))


def test_the_halves_for_objectives_do_keep_gradients_and_modes() -> None:
    vae, x = small(normalization="batch").train(), torch.rand(4, 5, 3, 1)
    assert vae.infer(x).mean.requires_grad
    assert vae.generate(torch.randn(4, 3)).mean.requires_grad
    assert vae.encoder[2].num_batches_tracked == 1


# Building


def test_build_is_the_composition_that_it_says() -> None:
    vae = VAE.build(shape=(4, 3, 1), hidden=[8, 5], latent_dim=2)
    assert [tuple(p.shape) for p in vae.encoder.parameters()] == [(8, 12), (8,), (5, 8), (5,), (4, 5), (4,)]
    assert [tuple(p.shape) for p in vae.decoder.parameters()] == [(5, 2), (5,), (8, 5), (8,), (12, 8), (12,)]
    assert isinstance(vae.prior, StandardNormal)
    assert isinstance(vae.posterior, DiagonalGaussianHead)


@pytest.mark.parametrize(("decoder_hidden", "widths"), [(None, [5, 8]), ([7], [7]), ([], [])])
def test_the_decoder_mirrors_the_encoder_unless_told(decoder_hidden: Any, widths: list[int]) -> None:
    vae = VAE.build(shape=(6,), hidden=[8, 5], decoder_hidden=decoder_hidden)
    assert [m.out_features for m in vae.decoder if isinstance(m, nn.Linear)] == [*widths, 6]


def test_build_hands_every_field_to_its_part() -> None:
    vae = VAE.build(
        shape=(6,),
        latent_dim=3,
        scale=16,
        activation="tanh",
        normalization="layer",
        posterior_scale="exp",
        likelihood="gaussian",
        likelihood_scale=0.2,
        output="sigmoid",
    )
    for net in (vae.encoder, vae.decoder):
        assert sum(isinstance(m, nn.Tanh) for m in net) == sum(isinstance(m, nn.LayerNorm) for m in net) == 2
    assert (vae.scale, vae.latent_dim, vae.posterior.scale, vae.likelihood.mean) == (16, 3, "exp", "sigmoid")
    assert_equal(vae.likelihood.log_scale.exp(), 0.2, **FLOAT32)


def test_the_configuration_rebuilds_the_model() -> None:
    vae = VAE.build(shape=(6,), hidden=[5], normalization="batch")
    again = VAE.build(vae.config)
    again.load_state_dict(vae.state_dict())
    x = torch.rand(3, 6)
    assert again.config == vae.config
    assert vae.config is not None
    assert vae.config.scale == 255
    assert_equal(again.embed(x), vae.embed(x))
    assert VAE.build(vae.config, latent_dim=5).latent_dim == 5


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "shape is not set"),
        ({"shape": (3,), "laten_dim": 4}, "did you mean 'latent_dim'?"),
        ({"shape": (3, 0)}, "shape = 0"),
    ],
)
def test_what_cannot_be_built_is_an_error(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        VAE.build(**fields)
    assert text in str(error.value)
