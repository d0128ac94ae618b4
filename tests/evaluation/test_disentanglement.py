"""The measures of disentanglement against references written from the papers, and on codes of known worth."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from elboroom.errors import FailureError, UsageError
from elboroom.evaluation.disentanglement import MEASURES, disentanglement, udr
from elboroom.evaluation.disentanglement.factors import labelled
from elboroom.evaluation.disentanglement.information import mig, modularity
from elboroom.evaluation.disentanglement.interventions import factor_vae, irs
from elboroom.evaluation.disentanglement.predictors import dci, sap, sap_table
from elboroom.evaluation.measure import Measure

Array = NDArray[np.float64]


def table(n: int = 1200, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Codes that know of three factors in a mixed way, with noise."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, k, n) for k in (2, 5, 7)], 1)
    mix = np.array([[1.0, 0.3, 0.0, -0.2], [0.0, 1.0, 0.5, 0.1], [0.2, 0.0, -0.4, 0.9]])
    return factors @ mix + 0.3 * rng.normal(size=(n, 4)), factors


# --- references, by loops over the definitions


def in_intervals(column: Array) -> list[int]:
    """Twenty intervals of equal width between the smallest and the largest."""
    low, width = min(column), (max(column) - min(column)) / 20
    edges = [low + i * width for i in range(20)]
    return [sum(value >= edge for edge in edges) - 1 for value in column]


def information_by_counting(a: list[int], b: list[int]) -> float:
    n, pairs, left, right = len(a), Counter(zip(a, b, strict=True)), Counter(a), Counter(b)
    return sum(c / n * math.log(c * n / (left[x] * right[y])) for (x, y), c in pairs.items())


def mig_by_counting(codes: Array, factors: NDArray[np.int64]) -> list[float]:
    gaps = []
    for k in range(factors.shape[1]):
        f = factors[:, k].tolist()
        known = sorted(information_by_counting(in_intervals(code), f) for code in codes.T)
        gaps.append((known[-1] - known[-2]) / information_by_counting(f, f))
    return gaps


def modularity_by_counting(codes: Array, factors: NDArray[np.int64]) -> list[float]:
    scores = []
    for code in codes.T:
        known = [information_by_counting(in_intervals(code), f.tolist()) for f in factors.T]
        best = max(range(len(known)), key=known.__getitem__)
        rest = sum(m**2 for k, m in enumerate(known) if k != best)
        scores.append(1 - rest / (known[best] ** 2 * (len(known) - 1)))
    return scores


def sap_by_hand(codes: Array, factors: Array, train: int) -> list[float]:
    from sklearn.svm import LinearSVC

    gaps = []
    for f in factors.T:
        right = []
        for code in codes.T:
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
            machine.fit(code[:train].reshape(-1, 1), f[:train])
            right.append(np.mean(machine.predict(code[train:].reshape(-1, 1)) == f[train:]))
        second, first = sorted(right)[-2:]
        gaps.append(first - second)
    return gaps


def test_mig_and_modularity_equal_counting() -> None:
    codes, factors = table()
    data = labelled(codes, factors)
    np.testing.assert_allclose(mig(data), mig_by_counting(codes, factors), atol=1e-12)
    np.testing.assert_allclose(modularity(data), modularity_by_counting(codes, factors), atol=1e-12)


def test_mig_of_one_and_two_bits() -> None:
    """A dimension that knows both bits of a factor beside one that knows one of them: the gap is half."""
    factor = np.repeat([0, 1, 2, 3], 25)
    codes = np.stack([factor, factor // 2, np.zeros(100)], 1)
    np.testing.assert_allclose(mig(labelled(codes, factor)), [0.5], atol=1e-12)
    np.testing.assert_allclose(mig(labelled(codes[:, :1], factor)), [1.0], atol=1e-12)


def test_sap_equals_support_vector_machines_by_hand() -> None:
    codes, factors = table(400)
    data = labelled(codes, factors)
    ours = sap(data.take(np.arange(200)), data.take(np.arange(200, 400)))
    np.testing.assert_allclose(ours, sap_by_hand(codes, factors, 200), atol=1e-12)


def test_sap_of_continuous_factors_is_the_squared_correlation() -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(500, 2))
    codes = np.stack([factors[:, 0], factors[:, 0] + factors[:, 1], np.full(500, 3.0)], 1)
    data = labelled(codes, factors)
    expected = [[np.corrcoef(c, f)[0, 1] ** 2 if c.std() else 0.0 for f in factors.T] for c in codes.T]
    np.testing.assert_allclose(sap_table(data, data), expected, atol=1e-12)


def test_dci_of_a_table_by_hand() -> None:
    """Dimension 0 serves both factors alike (entropy 1 of 1), dimension 1 only the second."""
    weights = np.array([[1.0, 1.0], [0.0, 2.0]])
    disentangled, complete = dci(weights)
    assert disentangled == pytest.approx((0 * 2 + 1 * 2) / 4, abs=1e-8)
    entropy = -(
        1 / 3 * math.log2(1 / 3) + 2 / 3 * math.log2(2 / 3)
    )  # of the second factor over the dimensions
    assert complete == pytest.approx((1 * 1 + (1 - entropy) * 3) / 4, abs=1e-8)


def test_irs_of_a_sum_of_two_factors() -> None:
    """Fix one of two signs: their sum strays by 1 of 2; a dimension of one of them alone does not stray."""
    signs = np.array(list(itertools.product([-1, 1], [-1, 1])) * 25)
    codes = np.stack([signs.sum(1), 5 * signs[:, 0], np.zeros(100)], 1)
    np.testing.assert_allclose(irs(labelled(codes, signs)), [0.5, 1.0, 0.0], atol=1e-12)


def test_perfect_codes() -> None:
    rng = np.random.default_rng(2)
    factors = np.stack([rng.integers(0, k, 2000) for k in (2, 3, 6)], 1)
    codes = factors[:, ::-1] * [3.0, -0.01, 1.0]
    scores = disentanglement(codes, factors, points=200, resamples=5)
    wanted = {"mig", "dci", "beta_vae", "factor_vae", "modularity", "explicitness", "irs"}
    assert {name for name, score in scores.items() if score.value > 0.98} == wanted
    assert scores["dci"].details["completeness"] > 0.98
    continuous = rng.normal(size=(2000, 2))
    assert disentanglement(-2 * continuous, continuous, ["sap"], resamples=2)["sap"].value > 0.98


def test_shuffled_codes_are_at_chance() -> None:
    rng = np.random.default_rng(3)
    factors = rng.integers(0, 4, (2000, 3))
    codes = rng.permutation(factors) @ rng.normal(size=(3, 4))
    scores = disentanglement(codes, factors, points=600, resamples=5)
    for name in ("mig", "sap", "dci"):
        assert scores[name].value < 0.05, name
    assert scores["explicitness"].value == pytest.approx(0.5, abs=0.04)
    for name in ("beta_vae", "factor_vae"):
        assert scores[name].value == pytest.approx(1 / 3, abs=4 * scores[name].error + 0.02), name


def test_scores_do_not_depend_on_the_units_of_codes() -> None:
    codes, factors = table(600)
    one = disentanglement(codes, factors, points=100, resamples=2)
    other = disentanglement(codes * [1000.0, 1e-3, -1.0, 7.0], factors, points=100, resamples=2)
    for name in set(MEASURES) - {
        "sap",
        "irs",
    }:  # an SVM's penalty is in units of the code; IRS weighs by them
        assert one[name].value == pytest.approx(other[name].value, abs=0.02), name


def test_the_error_of_mig_is_that_of_fresh_samples() -> None:
    values = [float(mig(labelled(*table(500, seed))).mean()) for seed in range(60)]
    stated = disentanglement(*table(500, 1), ["mig"], resamples=60)["mig"].error
    assert stated == pytest.approx(np.std(values), rel=0.4)


def test_records() -> None:
    codes, factors = table(200)
    named = dict(zip("abc", factors.T, strict=True))
    record = disentanglement(codes, named, ["mig"], seed=4, resamples=3)["mig"].as_json()
    assert record["examples"] == 200
    assert record["seed"] == 4
    assert record["unit"] == "share"
    assert list(record["details"]["factors"]) == ["a", "b", "c"]
    assert record["value"] == pytest.approx(np.mean(list(record["details"]["factors"].values())))
    with pytest.raises(FailureError, match="no number"):
        Measure(value=math.nan, error=None, unit="nats", estimator="none", examples=1)


def test_names_and_whole_numbers_are_discrete() -> None:
    codes, factors = table(200)
    words = np.array(["cat", "dog"])[factors[:, 0]]
    data = labelled(codes, {"kind": words, "size": factors[:, 1] / 2, "angle": factors[:, 2].astype(float)})
    assert data.discrete == (True, False, True)
    np.testing.assert_array_equal(data.factors[:, 0], factors[:, 0])


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros(20), np.arange(20), r"\(examples, dimensions\)"),
        (np.zeros((20, 2)), np.arange(19), "shape \\(19,\\), and there are codes of 20"),
        (np.zeros((20, 2)), np.ones(20), "the one value 1"),
        (np.full((20, 2), np.nan), np.arange(20), "codes hold nan"),
        (np.zeros((20, 2)), np.where(np.arange(20) == 3, np.inf, 0), "'factor 0' hold nan or infinite"),
        (np.zeros((5, 2)), np.arange(5), "at least 10"),
        (np.zeros((20, 2)), {}, "no factors"),
    ],
)
def test_what_cannot_be_measured(codes: Array, factors: Array, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        disentanglement(codes, factors)


def test_unknown_measures_and_numbers() -> None:
    codes, factors = table(50)
    with pytest.raises(UsageError, match="no measure 'migg'; there are mig, sap"):
        disentanglement(codes, factors, ["migg"])
    with pytest.raises(UsageError, match="points is 0"):
        disentanglement(codes, factors, points=0)


def test_one_factor_is_not_kept_apart_from_others() -> None:
    codes, factors = table(200)
    for name in ("dci", "beta_vae", "factor_vae", "modularity"):
        with pytest.raises(UsageError, match=f"one factor, 'size', and {name} measure"):
            disentanglement(codes, {"size": factors[:, 1]}, [name])
    few = disentanglement(codes, factors[:, 1], ["mig", "sap", "explicitness", "irs"], resamples=2)
    assert few["mig"].value == pytest.approx(mig_by_counting(codes, factors)[1], abs=1e-12)


def test_dead_codes_score_nothing() -> None:
    _, factors = table(200)
    scores = disentanglement(np.zeros((200, 3)), factors, points=50, resamples=2)
    for name in ("mig", "sap", "dci", "factor_vae", "modularity", "irs"):
        assert scores[name].value == 0, name


def test_udr_by_hand() -> None:
    """Turned by 45 degrees each dimension resembles two by r = 6/π asin(√½ / 2): r² / 2r = r / 2."""
    z = np.random.default_rng(0).normal(size=(20_000, 2))
    turned = z @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    ones = [1.0, 1.0]
    expected = 6 / math.pi * math.asin(math.sqrt(0.5) / 2) / 2
    np.testing.assert_allclose(udr([z, turned], [ones, ones]), expected, atol=0.01)
    np.testing.assert_allclose(udr([z, np.exp(z[:, ::-1])], [ones, ones]), 1, atol=0.02)
    # what is as good as its prior is ignored: the second dimension of the first, both of nothing
    assert udr([z, z], [[1, 0], [1, 0]])[0] == pytest.approx(
        (1 / (1 + abs(np.corrcoef(z.T)[0, 1]))), abs=0.01
    )
    assert udr([z, z], [[0, 0], [0, 0]]).tolist() == [0, 0]


def test_udr_takes_the_median_over_the_other_models() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(5000, 2))
    ones = [1.0, 1.0]
    scores = udr([z, -z, z[:, ::-1], rng.normal(size=(5000, 2))], [ones] * 4)
    assert (scores[:3] > 0.9).all()
    assert scores[3] < 0.1
    with pytest.raises(UsageError, match="at least 2"):
        udr([z], [ones])


@pytest.mark.parametrize("constant", [0.1, 1e5 / 3, 0.0])
def test_a_constant_dimension_has_no_vote_and_does_not_stray(constant: float) -> None:
    """Its mean is rounded, so that its variance is not quite 0."""
    codes, factors = table(999)
    plain, beside = labelled(codes, factors), labelled(np.c_[codes, np.full(999, constant)], factors)
    votes = [factor_vae(data, 300, np.random.default_rng(0)) for data in (plain, beside)]
    np.testing.assert_array_equal(*votes)
    assert votes[0].mean() > 0.5
    np.testing.assert_array_equal(irs(beside), [*irs(plain), 0.0])
    assert sap_table(beside, beside)[-1].max() < 0.6  # the share of the largest value of a factor


def test_sap_does_not_depend_on_the_units_of_codes() -> None:
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(300, 2))
    codes = factors + 0.1 * rng.normal(size=(300, 2))
    for unit in (1e-8, 1e-200, 1e30):
        data = labelled(codes * unit, factors)
        np.testing.assert_allclose(
            sap_table(data, data), sap_table(labelled(codes, factors), data), atol=1e-12
        )


def test_a_rare_value_may_be_missing_from_a_resample() -> None:
    """Two examples in each half: a tenth of the resamples have neither of them."""
    rng = np.random.default_rng(0)
    rare = np.zeros(80, np.int64)
    order = np.random.default_rng(0).permutation(80)
    rare[order[[0, 1, 50, 51]]] = 1
    factors = np.stack([rare, np.arange(80) % 3], 1)
    codes = factors + 0.1 * rng.normal(size=(80, 2))
    names = ("mig", "modularity", "irs", "sap", "explicitness", "dci")
    for name, score in disentanglement(codes, factors, names, seed=0).items():
        assert score.error is not None, name
        assert np.isfinite([score.value, score.error]).all(), name


def test_no_error_where_resamples_hardly_ever_have_all_values() -> None:
    """Thirty factors, each with one example of its own: a resample has them all once in a million times."""
    factors = np.eye(60, 30, dtype=np.int64)
    codes = factors @ np.random.default_rng(0).normal(size=(30, 3))
    assert disentanglement(codes, factors, ["mig"], resamples=2)["mig"].error is None


def test_irs_and_sap_of_correlated_skewed_factors_by_loops() -> None:
    """Labels with gaps, factors that depend on each other, and a copy of a dimension."""
    codes, factors = table(300)
    factors[:, 1] = np.where(factors[:, 0] == 1, 7, factors[:, 1])
    labels = factors**3 * 5 - 2
    codes = np.c_[codes, codes[:, 0]]
    expected = []
    for code in codes.T:
        kept = []
        for f in labels.T:
            strays = [np.quantile(np.abs(code[f == v] - code[f == v].mean()), 0.99) for v in np.unique(f)]
            kept.append(1 - np.mean(strays) / np.abs(code - code.mean()).max())
        expected.append(max(kept))
    np.testing.assert_allclose(irs(labelled(codes, labels)), expected, atol=1e-12)
    np.testing.assert_allclose(mig(labelled(codes, labels)), mig_by_counting(codes, labels), atol=1e-12)
