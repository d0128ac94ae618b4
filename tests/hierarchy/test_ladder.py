"""A ladder against torch's distributions, its own second pass, and brute-force integration."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, distributions

from elboroom.errors import UsageError
from elboroom.models import HierarchicalVAE
from elboroom.networks import summarize
from elboroom.networks.ladder import Ladder
from elboroom.networks.ladder_parts import LadderEncoder, StochasticLayer

# float64, through some twenty convolutions and sums of a few hundred terms.
FLOAT64 = {"rtol": 1e-10, "atol": 1e-10}


def small(
    shape: tuple[int, int, int] = (8, 6, 1), *, width: int = 8, levels: int | None = None, **options
) -> HierarchicalVAE:
    """A ladder with weights that are not those of the start, whose q is p."""
    vae = HierarchicalVAE(
        LadderEncoder(shape, width=width, levels=levels),
        Ladder(shape, width=width, levels=levels, **options),
        shape=shape,
    )
    with torch.no_grad():
        for layer in vae.modules():
            if isinstance(layer, StochasticLayer):
                for net in (layer.prior, layer.posterior):
                    net[-1].weight.normal_(std=0.1)
                    net[-1].bias.normal_(std=0.3)
    return vae


def binary(n: int, shape: tuple[int, ...] = (8, 6, 1)) -> Tensor:
    return torch.bernoulli(torch.full((n, *shape), 0.4))


@pytest.mark.usefixtures("float64")
def test_each_rate_is_torchs_divergence() -> None:
    vae, x = small(), binary(3)
    ladder = vae.decoder
    assert isinstance(ladder, Ladder)
    images, expected = ladder._images(vae.encoder(x)), []
    torch.manual_seed(1)
    terms = vae(x, 4)

    def pick(i: int, layer: StochasticLayer, state: Tensor) -> Tensor:
        mean, log_scale = layer.prior_of(state)
        shift, log_ratio = layer.posterior_of(state, images[ladder.level_of[i]])
        p = distributions.Normal(mean, log_scale.exp())
        q = distributions.Normal(mean + log_scale.exp() * shift, (log_scale + log_ratio).exp())
        z = ladder._grid(terms.z.flatten(0, 1), i)
        rate = distributions.kl_divergence(q, p).sum((1, 2, 3))
        expected.append([t.sum((1, 2, 3)).reshape(4, 3) for t in (q.log_prob(z), p.log_prob(z))])
        expected[-1].append(rate.reshape(4, 3).mean(0))
        return z

    ladder.descend(12, pick)
    torch.testing.assert_close(terms.rates, torch.stack([rate for _, _, rate in expected]), **FLOAT64)
    torch.testing.assert_close(terms.log_q, sum(log_q for log_q, _, _ in expected), **FLOAT64)
    torch.testing.assert_close(terms.log_prior, sum(log_p for _, log_p, _ in expected), **FLOAT64)
    torch.testing.assert_close(terms.rate, terms.rates.sum(0), **FLOAT64)
    assert (terms.rates > 0).all()


@pytest.mark.usefixtures("float64")
def test_the_one_pass_agrees_with_decoder_and_prior() -> None:
    vae, x = small(), binary(3)
    terms = vae(x, 4)
    torch.testing.assert_close(terms.log_prior, vae.prior.log_prob(terms.z), **FLOAT64)
    torch.testing.assert_close(terms.log_likelihood, vae.generate(terms.z).log_prob(x), **FLOAT64)
    again = terms.log_likelihood + vae.prior.log_prob(terms.z) - terms.log_q
    torch.testing.assert_close(terms.log_weights, again, **FLOAT64)


@pytest.mark.usefixtures("float64")
def test_rates_are_the_mean_of_log_q_less_log_p() -> None:
    vae, x = small(), binary(1)
    with torch.no_grad():
        terms = vae(x, 2000)
    draws = terms.log_q - terms.log_prior
    error = draws.std() / 2000**0.5
    # the closed forms given the layers above are noisy too, and less so
    assert abs(draws.mean() - terms.rate.item()) < 5 * error


@pytest.mark.usefixtures("float64")
def test_nll_finds_the_evidence_of_a_brute_force_integral() -> None:
    """Two layers of one number each on a 1×1 grid: log ∫ p(z) p(x|z) dz by the trapezoidal rule."""
    shape = (2, 2, 1)
    vae, x = small(shape, levels=1, layers=(2,), z_channels=1), binary(4, shape)
    line = torch.linspace(-7, 7, 141)
    ladder = vae.decoder
    assert isinstance(ladder, Ladder)
    with torch.no_grad():
        z = torch.cartesian_prod(line, line)
        # integrate over the noise of each layer: z_l = mean + scale · ε, so that the grid fits any scale
        parts: list[Tensor] = []

        def pick(i: int, layer: StochasticLayer, state: Tensor) -> Tensor:
            mean, log_scale = layer.prior_of(state)
            parts.append(mean + log_scale.exp() * z[:, i, None, None, None])
            return parts[-1]

        ladder.descend(len(z), pick)
        codes = torch.cat([part.flatten(1) for part in parts], 1)
        density = distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + 2 * math.log(14 / 140)
        log_joint = density[:, None] + vae.generate(codes[:, None].expand(-1, 4, -1)).log_prob(x)
        exact = torch.logsumexp(log_joint, 0)
    value, stderr, *_ = vae.nll(x, 5000)
    # the rule itself is exact to far below 1e-6 for smooth integrands that vanish at the ends
    assert ((value + exact).abs() < 5 * stderr + 1e-6).all()
    assert (torch.stack([vae.elbo(x, 500) for _ in range(10)]).mean(0) < exact + 5 * stderr).all()


@pytest.mark.usefixtures("float64")
def test_nll_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, x = small(), binary(2)
    sizes = [len(draws.log_weights) for draws in vae.importance(x, 10)]
    assert sizes == [10]
    monkeypatch.setattr("elboroom.models.hierarchical._HIDDEN_NUMBERS", 3 * 2 * vae.decoder.peak)
    with vae.at_rest():
        assert [len(draws.log_weights) for draws in vae.importance(x, 10)] == [3, 3, 3, 1]
        weights = torch.cat([draws.log_weights for draws in vae.importance(x, 500)])
    whole = torch.logsumexp(weights, 0) - math.log(500)
    value, stderr, *_ = vae.nll(x, 500)
    assert ((value + whole).abs() < 5 * 2**0.5 * stderr).all()


def test_the_rate_starts_at_zero() -> None:
    shape = (28, 28, 1)
    vae = HierarchicalVAE(LadderEncoder(shape, width=8), Ladder(shape, width=8), shape=shape)
    terms = vae(binary(3, shape))
    assert torch.equal(terms.rates, torch.zeros(6, 3))
    assert (terms.distortion < 1.1 * 784 * math.log(2)).all()


@pytest.mark.parametrize(
    ("shape", "layers", "grids"),
    [((28, 28, 1), 6, [4, 7, 14]), ((32, 32, 3), 6, [4, 8, 16]), ((64, 64, 3), 6, [4, 8, 16, 32])],
    ids=str,
)
def test_usual_images_fit(shape: tuple[int, int, int], layers: int, grids: list[int]) -> None:
    vae = HierarchicalVAE(LadderEncoder(shape, width=8), Ladder(shape, width=8), shape=shape)
    assert isinstance(vae.decoder, Ladder)
    assert [level.height for level in vae.decoder.plan] == grids
    assert len(vae.layers) == layers
    x = torch.rand(2, *shape)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.sample(2).shape == x.shape
    assert vae.embed(x).shape == (2, vae.latent_dim)
    vae(x).rate.sum().backward()


@pytest.mark.usefixtures("float64")
def test_embedding_is_repeatable_and_is_the_posteriors_mean() -> None:
    vae, x = small(), binary(3)
    assert torch.equal(vae.embed(x), vae.embed(x))
    torch.testing.assert_close(vae.reconstruct(x), vae.decode(vae.embed(x)).mean, **FLOAT64)
    # the top layer's posterior depends on no other draw: its mean is that of the samples
    top = vae.layers[0]
    draws = vae.encode(x).rsample_and_log_prob(1000)[0][..., top].detach()
    error = draws.std(0) / 1000**0.5
    assert ((draws.mean(0) - vae.embed(x)[:, top]).abs() < 5.5 * error).all()


@pytest.mark.usefixtures("float64")
def test_lower_layers_follow_from_what_is_given() -> None:
    vae, x = small(), binary(3)
    z = vae.embed(x)
    for layer in vae.layers:
        whole = vae.complete(z[:, : layer.stop])
        torch.testing.assert_close(whole[:, : layer.stop], z[:, : layer.stop], **FLOAT64)
        torch.testing.assert_close(vae.complete(whole[:, : layer.stop]), whole, **FLOAT64)
    assert torch.equal(vae.complete(z), z)
    mode = vae.complete(torch.zeros(3, 0))
    assert torch.equal(mode[0], mode[1])
    drawn = vae.complete(z[:, : vae.layers[0].stop], temperature=1.0)
    assert not torch.equal(drawn, vae.complete(z[:, : vae.layers[0].stop], temperature=1.0))
    with pytest.raises(UsageError, match="where its layers end"):
        vae.complete(z[:, :1])


def test_two_hundred_steps_lower_the_loss_and_stay_finite() -> None:
    shape = (8, 8, 1)
    options = {"width": 16, "levels": 1}
    vae = HierarchicalVAE(LadderEncoder(shape, **options), Ladder(shape, **options), shape=shape)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    bars = [((places + shift) % 4 < 2).float() for places in (rows, columns) for shift in range(4)]
    x = torch.stack(bars)[..., None].repeat(2, 1, 1, 1)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    losses, norms = [], []
    for _ in range(200):
        terms = vae(x)
        loss = (terms.distortion + terms.rate).mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.get_total_norm(p.grad for p in vae.parameters() if p.grad is not None))
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in vae.parameters())
    assert torch.isfinite(torch.stack(norms)).all()
    # 64 ln 2 = 44 nats without knowing anything; eight pictures have an entropy of log 8 = 2 nats
    assert losses[0] > 42
    assert losses[-1] < 20
    assert terms.rate.mean() > 1


def test_extreme_weights_give_finite_gradients() -> None:
    vae = small()
    with torch.no_grad():
        for layer in vae.modules():
            if isinstance(layer, StochasticLayer):
                layer.prior[-1].bias.fill_(1e3)
                layer.posterior[-1].bias.fill_(-1e3)
    terms = vae(binary(3))
    (terms.distortion + terms.rate).mean().backward()
    assert torch.isfinite(terms.log_weights).all()
    assert all(torch.isfinite(p.grad).all() for p in vae.parameters() if p.grad is not None)


def test_weights_are_saved_once_and_copies_stand_alone() -> None:
    vae = small()
    names = list(vae.state_dict())
    assert not any(name.startswith(("prior.", "posterior.")) for name in names)
    other = copy.deepcopy(vae)
    assert other.prior._hierarchy[0] is other.decoder
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(load(save(vae.state_dict())))
    x = binary(2)
    assert torch.equal(other.embed(x), vae.embed(x))


def test_the_summary_counts_it() -> None:
    vae = small()
    counted = summarize(vae, (8, 6, 1), 10)
    assert counted.parameters == sum(p.numel() for p in vae.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 1, 1, 1)}, "there are 1 grids"),
        ({"layers": (0,)}, "at least one layer"),
        ({"z_channels": 0}, "ladder_z_channels = 0: at least 1"),
        ({"blocks": -1}, "blocks = -1: at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Ladder((8, 6, 1), **options)
