"""What a conditional VAE takes and gives, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.config import ModelConfig
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of
from elboroom.latent.paths import linear
from elboroom.latent.targets import refine
from elboroom.models.conditioning import Conditioning, Examples
from elboroom.models.vae import VAE
from elboroom.probability import ConditionalNormal, StandardNormal, VampPrior

from .known import LAYERED, SIDE, build, images, varied

NAMES = {"condition_names": ("cat", "dog")}


@pytest.fixture
def vae() -> VAE:
    return varied(build(**NAMES))


@pytest.fixture
def x() -> np.ndarray[Any, Any]:
    return images().x[:5]


def test_labels_come_as_numbers_names_and_vectors(vae: VAE, x: np.ndarray[Any, Any]) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    expected = vae.embed(x, labels)
    names = [("cat", "dog")[label] for label in labels]
    for same in (labels.tolist(), torch.from_numpy(labels), names, np.array(names), np.eye(2)[labels]):
        assert torch.equal(vae.embed(x, same), expected)
    for one in (1, "dog", np.int64(1), torch.tensor(1), [0.0, 1.0], np.array([[0.0, 1.0]])):
        assert torch.equal(vae.embed(x, one)[1:3], expected[1:3])
    assert not torch.equal(vae.embed(x, 0)[1], expected[1])
    assert torch.equal(vae.embed(Examples(x, labels)), expected)


def test_every_method_gives_each_part_the_condition(vae: VAE, x: np.ndarray[Any, Any]) -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    c, seen = torch.eye(2)[labels], vae.as_input(x)
    assert vae.conditioning is not None
    assert vae.conditioning.to_input is not None
    with torch.no_grad():
        moved = seen + (c @ vae.conditioning.to_input.weight.T).view(seen.shape)
        q = vae.posterior(vae.encoder(moved))
        torch.testing.assert_close(vae.encode(x, labels).mean, q.mean)
        z = torch.randn(3, 5, 2)
        features = vae.decoder(torch.cat([z, c.expand(3, 5, 2)], -1).flatten(0, 1))
        decoded = vae.likelihood(features.reshape(3, 5, *vae.shape))
    torch.testing.assert_close(vae.decode(z, labels).mean, decoded.mean)
    torch.testing.assert_close(vae.reconstruct(x, labels), vae.decode(q.mean, labels).mean)
    torch.testing.assert_close(vae.decode(z[0, 0], 0).mean, vae.decode(z[0, :1], 0).mean[0])
    terms = vae(seen, 4, labels)
    torch.testing.assert_close(terms.prior.mean, vae.prior.given(c).mean)
    torch.testing.assert_close(terms.generate(terms.z).mean, terms.likelihood.mean)
    torch.manual_seed(5)
    elbo = vae.elbo(x, 4, condition=labels)
    torch.manual_seed(5)
    terms = vae(seen, 4, labels)
    torch.testing.assert_close(elbo, -(terms.distortion + terms.rate).detach())


def test_samples_and_morphs_follow_the_condition(vae: VAE, x: np.ndarray[Any, Any]) -> None:
    torch.manual_seed(0)
    both = vae.sample(6, condition=[0, 0, 0, 1, 1, 1])
    torch.manual_seed(0)
    z = vae.prior.given(torch.eye(2)[[0, 0, 0, 1, 1, 1]]).sample(6)
    torch.testing.assert_close(both, vae.decode(z, [0, 0, 0, 1, 1, 1]).mean)
    way = vae.interpolate(x[0], x[1], 5, condition=[0, 1])
    ends = vae.embed(x[:2], [0, 1])
    told = linear(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 5)
    torch.testing.assert_close(way, vae.decode(linear(ends[0], ends[1], 5), told).mean)
    pairs = Examples(x[0], np.int64(0)), Examples(x[1], np.int64(1))  # type: ignore[arg-type]
    torch.testing.assert_close(vae.interpolate(*pairs, 5), way)
    assert vae.sample(0, condition=1).shape == (0, SIDE, SIDE, 1)


def test_a_given_model_takes_no_condition_and_shares_its_weights(vae: VAE, x: np.ndarray[Any, Any]) -> None:
    state = {name: weight.clone() for name, weight in vae.state_dict().items()}
    given = vae.given("dog")
    assert given.condition is None
    torch.testing.assert_close(given.reconstruct(x), vae.reconstruct(x, 1))
    assert given.prior.mean.shape == (1, 2)
    assert given.interpolate(x[0], x[1], 3).shape == (3, *vae.shape)
    torch.manual_seed(0)
    elbo = given.elbo(x)
    torch.manual_seed(0)
    torch.testing.assert_close(elbo, vae.elbo(x, condition=1))
    torch.manual_seed(0)
    nll = given.nll(x, 10).value
    torch.manual_seed(0)
    torch.testing.assert_close(nll, vae.nll(x, 10, condition=1).value)
    with pytest.raises(UsageError, match="fixed"):
        given.embed(x, 1)
    assert isinstance(vae.prior, ConditionalNormal)
    assert vae.condition is not None
    assert state.keys() == vae.state_dict().keys()


def test_refined_codes_are_better_given_the_condition(vae: VAE, x: np.ndarray[Any, Any]) -> None:
    pair = Examples(x, np.array([0, 1, 1, 0, 1]))
    better = refine(vae, pair, steps=20)

    def joint(z: torch.Tensor) -> torch.Tensor:
        c = vae.condition_vectors(pair.condition, 5)
        return vae.decode(z, c).log_prob(vae.as_input(x)) + vae.prior_given(c).log_prob(z)

    with torch.no_grad():
        assert (joint(better) >= joint(vae.embed(pair))).all()
        assert (joint(better) > joint(vae.embed(pair))).any()


def test_a_model_starts_as_if_it_were_told_nothing(x: np.ndarray[Any, Any]) -> None:
    vae = build()
    assert torch.equal(vae.embed(x, 0), vae.embed(x, 1))
    assert not torch.equal(vae.reconstruct(x, 0), vae.reconstruct(x, 1))  # but its decoder listens


@pytest.mark.parametrize("parts", [("encoder",), ("decoder",), ("prior",), ("decoder", "prior")])
def test_only_the_parts_that_are_named_are_told(parts: tuple[str, ...], x: np.ndarray[Any, Any]) -> None:
    vae = varied(build(condition_parts=parts))
    z = torch.zeros(1, 2)
    assert torch.equal(vae.embed(x, 0), vae.embed(x, 1)) is ("encoder" not in parts)
    assert torch.equal(vae.decode(z, 0).mean, vae.decode(z, 1).mean) is ("decoder" not in parts)
    assert isinstance(vae.prior, ConditionalNormal) is ("prior" in parts)
    vae(vae.as_input(x), 2, 1).rate.sum().backward()


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "conv", "conv_width": 8, "hidden": (400, 400)},
        {"posterior": "full"},
        {"posterior": "iaf"},
        {"posterior": "power_spherical", "condition_parts": ("encoder", "decoder")},
        {"posterior": "vq", "condition_parts": ("encoder", "decoder"), "code_grid": (3,), "latent_dim": 2},
        {"prior": "vamp", "prior_components": 3, "condition_parts": ("decoder",)},
        {"prior": "mixture", "condition_parts": ("encoder", "decoder")},
        {"condition": "vectors", "condition_dim": 3},
        *LAYERED.values(),
        {**LAYERED["ladder"], "condition_parts": ("encoder",)},
        {**LAYERED["chain"], "condition_parts": ("encoder", "decoder")},
    ],
    ids=str,
)
def test_it_composes_with_networks_posteriors_and_priors(fields: dict[str, Any], x: Any) -> None:
    vae = varied(build(**fields))
    assert vae.condition is not None
    c = torch.randn(5, 3) if vae.condition.kind == "vectors" else torch.tensor([0, 1, 1, 0, 1])
    terms = vae(vae.as_input(x), 2, c)
    (terms.distortion + terms.rate).sum().backward()
    weight = next(vae.conditioning.parameters(), None) if vae.conditioning is not None else None
    if weight is not None:
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    assert vae.sample(4, condition=c[0]).shape == (4, *vae.shape)
    again = VAE.build(vae.config)
    again.load_state_dict(vae.state_dict())
    assert torch.equal(again.embed(x, c), vae.embed(x, c))


def test_examples_of_a_data_set_carry_what_the_model_wants() -> None:
    data, rows = images(), np.array([3, 4])
    told = examples_of(build(**NAMES), data, rows)
    assert isinstance(told, Examples)
    assert told.condition.tolist() == [1, 0]
    vectors = examples_of(build(condition="vectors"), data, rows)
    assert isinstance(vectors, Examples)
    assert vectors.condition.shape == (2, 2)
    assert isinstance(examples_of(build(**NAMES).given(0), data, rows), np.ndarray)


# What is refused


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (None, r"conditional: give condition=, a label: cat, dog, for all"),
        (2, "label 2: the model takes a label: cat, dog"),
        ([0, 1, 0, 1, -1], "label -1"),
        ("dgo", "no label 'dgo'; did you mean 'dog'"),
        ([0, 1], r"shape \(2,\) for 5 examples; give one label or 5"),
        (np.zeros((5, 3)), r"shape \(5, 3\) for 5 examples"),
        (object(), "condition: .* the model takes a label"),
    ],
)
def test_conditions_that_are_none(vae: VAE, x: Any, condition: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as told:
        vae.embed(x, condition)
    assert "\n" not in str(told.value)


def test_conditions_where_none_or_another_kind_is_wanted(vae: VAE, x: Any) -> None:
    plain = VAE.build(shape=vae.shape, hidden=(8,))
    with pytest.raises(UsageError, match="takes no condition: leave it out"):
        plain.embed(x, 1)
    with pytest.raises(UsageError, match="takes no condition"):
        plain.given(1)
    with pytest.raises(UsageError, match="have conditions of their own"):
        vae.embed(Examples(x, np.zeros(5, int)), 1)
    with pytest.raises(UsageError, match="conditional: give condition="):
        vae.sample(3)
    vectors = build(condition="vectors", condition_dim=3)
    with pytest.raises(UsageError, match="a vector of 3 numbers, not labels"):
        vectors.embed(x, "dog")
    with pytest.raises(UsageError, match=r"give \(3,\) or \(5, 3\)"):
        vectors.embed(x, np.zeros(5))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"condition_dim": None}, "condition_dim is not set"),
        ({"condition_names": ("cat",)}, "1 names for 2 labels"),
        ({"condition": "none"}, "condition_dim = 2 requires condition = 'labels' or 'vectors'"),
        ({"condition_file": "a.npy"}, "condition_file = 'a.npy' requires condition = 'vectors'"),
        ({"condition": "label"}, "must be 'none', 'labels' or 'vectors'"),
        ({"condition_parts": ("decodr",)}, "must be 'encoder', 'decoder' or 'prior'"),
        ({"condition_parts": ("prior", "prior")}, "name each part once"),
        ({"prior": "mixture"}, "prior = 'mixture'; take condition_parts = encoder decoder"),
        ({"posterior": "vq", "code_grid": (3,)}, "posterior = 'vq'; take condition_parts = encoder decoder"),
        ({"posterior": "deterministic"}, "posterior = 'deterministic'; take condition_parts"),
        ({"prior": "vamp", "condition_parts": ("encoder",)}, "pseudo-inputs, which have no condition"),
        (
            {**LAYERED["ladder"], "condition_parts": ("prior",)},
            "decoder is also its prior, and both take the condition or neither does; take",
        ),
    ],
)
def test_configurations_that_do_not_go_together(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as told:
        build(**fields)
    assert "\n" not in str(told.value)


def test_parts_in_python_that_do_not_go_together() -> None:
    def compose(prior: nn.Module, parts: tuple[str, ...]) -> VAE:
        told = Conditioning("labels", 2, shape=(4,), parts=parts)
        return VAE(nn.Linear(4, 4), nn.Linear(4, 4), prior, shape=(4,), conditioning=told)

    assert compose(StandardNormal(2), ("encoder", "decoder")).sample(3, condition=1).shape == (3, 4)
    with pytest.raises(UsageError, match="the prior is a StandardNormal"):
        compose(StandardNormal(2), ("decoder", "prior"))
    with pytest.raises(UsageError, match="the prior is a ConditionalNormal"):
        compose(ConditionalNormal(2, 2), ("decoder",))
    with pytest.raises(UsageError, match="pseudo-inputs"):
        compose(VampPrior(2, shape=(4,), components=2), ("encoder",))
    with pytest.raises(UsageError, match="at least one of"):
        Conditioning("labels", 2, shape=(4,), parts=())
    with pytest.raises(UsageError, match="no part 'decodr' takes a condition; did you mean 'decoder'"):
        Conditioning("labels", 2, shape=(4,), parts=("decodr",))


def test_what_is_written_is_read() -> None:
    labels = Conditioning("labels", 3, shape=(4,), names=("cats", "dogs", "owls"))
    assert [labels.parse(text) for text in ("dogs", "dog", "owl")] == [1, 1, 2]
    vectors = Conditioning("vectors", 2, shape=(4,))
    assert vectors.parse("1,-2.5").tolist() == [1.0, -2.5]  # type: ignore[union-attr]
    for wrong, words in (("1", "1 numbers"), ("a,b", "is not a vector"), ("1,nan", "numbers")):
        with pytest.raises(UsageError, match=words):
            vectors.parse(wrong)
    with pytest.raises(UsageError, match="no label '7'; the model takes a label, 0 to 2"):
        Conditioning("labels", 3, shape=(4,)).parse("7")


def test_configurations_are_saved_as_they_are() -> None:
    config = build(**NAMES).config
    assert config is not None
    assert ModelConfig(**config.model_dump(mode="json")) == config
