"""Which combinations there are, and exactly which of them are refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from elboroom.objectives import RECIPES

from .chosen import ACCEPTED, EACH, ONCE, RESUMED, TRAINED, USED, Aspect, covering, refused
from .combinations import ALL, LIKELIHOODS, NETWORKS, Combination

# Layered networks have posterior and prior of their own, whose density is known at their draws alone.
NOT_LAYERED = {
    *("ae", "wae-mmd", "aae", "rae-l2", "rae-gp", "rae-sn"),
    *("dreg", "stl", "beta-tcvae", "dip-vae-ii"),
    *("mixture", "vamp", "flow-prior"),
    *("full-covariance", "householder", "planar", "iaf", "svae"),
    *("vq-vae", "residual-vq", "fsq"),
}
# Rates of a chain's layers are estimates, which cannot be held up.
NOT_IN_A_CHAIN = {"free-bits-vae"}
# Its decoder's convolutions are as they are.
NOT_AN_AUTOENCODER_KL = {"rae-sn"}
# These recipes are an option of one likelihood.
ONE_LIKELIHOOD = {"sigma-vae": "gaussian", "discretized-logistic": "discretized_logistic"}
# A conditional prior is normal, beside a posterior with a density anywhere; pseudo-inputs have no label.
NOT_WITH_A_TOLD_PRIOR = {
    *("ae", "wae-mmd", "aae", "rae-l2", "rae-gp", "rae-sn"),
    *("mixture", "vamp", "flow-prior", "svae", "vq-vae", "residual-vq", "fsq"),
    *("tokenizer-vq", "tokenizer-fsq"),
}
NOT_WITH_A_TOLD_ENCODER = {"vamp"}


def has_no_meaning(one: Combination) -> bool:
    layered = one.network in ("ladder", "chain")
    posterior = one.fields.get("posterior", "diagonal")
    return (
        (layered and one.recipe in NOT_LAYERED)
        or (one.network == "ladder" and ("decoder" in one.told) != ("prior" in one.told))
        or (one.recipe.startswith("tokenizer") and one.likelihood not in ("gaussian", "laplace", "student_t"))
        or (one.network == "spatial" and posterior not in ("diagonal", "deterministic", "vq", "fsq"))
        or (
            one.network == "autoencoder-kl"
            and (one.recipe in NOT_AN_AUTOENCODER_KL or posterior != "diagonal")
        )
        or (one.network == "autoencoder-kl" and one.told)
        or (one.network == "chain" and one.recipe in NOT_IN_A_CHAIN)
        or ONE_LIKELIHOOD.get(one.recipe, one.likelihood) != one.likelihood
        or ("prior" in one.told and one.recipe in NOT_WITH_A_TOLD_PRIOR)
        or ("encoder" in one.told and one.recipe in NOT_WITH_A_TOLD_ENCODER)
    )


COUNTS = (
    f"{len(ACCEPTED)} accepted, {len(refused())} refused; "
    f"{len(USED)} used, {len(TRAINED)} trained, {len(RESUMED)} resumed"
)


@pytest.mark.parametrize("_", [COUNTS])
def test_each_is_accepted_or_refused(_: str) -> None:
    """Its name, shown by ``pytest -v``, says how many there are."""
    assert len(ACCEPTED) + len(refused()) == len(ALL) == len(set(ALL))
    assert {one.recipe for one in ACCEPTED} == {*RECIPES}
    cells = {(one.network, one.likelihood) for one in ACCEPTED}
    assert cells >= {(network, kind) for network in NETWORKS[:-1] for kind in LIKELIHOODS}


def test_what_is_refused_is_what_has_no_meaning() -> None:
    meaningless = {one for one in ALL if has_no_meaning(one)}
    newly_refused = sorted(str(one) for one in refused().keys() - meaningless)
    newly_accepted = sorted(str(one) for one in meaningless - refused().keys())
    assert (newly_refused, newly_accepted) == ([], [])


def test_a_refusal_says_what_fits_in_one_line() -> None:
    for one, text in refused().items():
        assert "\n" not in text, one
        assert any(word in text for word in ("leave it out", "leave the penalty out", "take ")), (one, text)


@pytest.mark.parametrize(("aspects", "most"), [(ONCE, 50), (EACH, 75)])
def test_the_few_show_all_there_is_of_each_aspect(aspects: Sequence[Aspect], most: int) -> None:
    few = covering(ACCEPTED, aspects)
    for aspect in aspects:
        assert {aspect(one) for one in few} == {aspect(one) for one in ACCEPTED}
    assert len(few) == len(set(few)) <= most
