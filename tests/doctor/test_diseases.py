"""Diseases planted in small trainings: each is named, and the change that is advised cures it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from benchmarks.diseases import PLANTED, SMALL, Clinic, digits, elbo

from elboroom.config import Config
from elboroom.doctor import DISEASES, Chart, Diagnosis, examine_chart
from elboroom.objectives.recipes import recipe


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """Make equal trainings once: what cures several diseases is one and the same training."""
    return Clinic(tmp_path_factory.mktemp("clinic"))


def _names(found: Diagnosis) -> list[str]:
    return [finding.disease for finding in found.findings]


@pytest.mark.parametrize("case", PLANTED)
def test_a_disease_is_named_and_the_change_cures_it(case: str, clinic: Clinic) -> None:
    disease = PLANTED[case]
    data, config = disease.data(0), disease.config(0)
    sick, found = clinic.examined(disease.data.__name__, data, config)
    assert disease.name in _names(found), found
    finding = next(one for one in found.findings if one.disease == disease.name)
    assert any(character.isdigit() for character in finding.evidence)
    cured, after = clinic.examined(disease.data.__name__, data, config.updated(**finding.change))
    assert disease.name not in _names(after), (finding, after)
    if disease.helps:  # held-out examples too
        (worse, error), (better, other) = elbo(sick, data), elbo(cured, data)
        assert better >= worse - 2 * math.hypot(error, other)


OVERFIT = ("overfit encoder", "overfit decoder", "memorised samples")


def test_networks_that_learned_by_heart_are_named_and_smaller_ones_cure_it(clinic: Clinic) -> None:
    """One training of few binary digits plants three diseases, which have one remedy."""
    disease = PLANTED[OVERFIT[0]]
    assert all(PLANTED[name].config(0) == disease.config(0) for name in OVERFIT)
    data, config = disease.data(0), disease.config(0)
    sick, found = clinic.examined("few", data, config)
    assert _names(found) == list(OVERFIT)
    (change,) = {str(finding.change): finding.change for finding in found.findings}.values()
    cured, after = clinic.examined("few", data, config.updated(**change))
    assert after.findings == ()
    assert elbo(cured, data)[0] > elbo(sick, data)[0]


def test_every_disease_of_the_table_is_planted() -> None:
    assert {disease.name for disease in DISEASES} == {case.name for case in PLANTED.values()}


@pytest.mark.parametrize(
    "name", ["vae", "ae", "free-bits-vae", "iwae", "annealed-vae", "sigma-vae", "vq-vae"]
)
def test_no_alarm_on_a_healthy_run(name: str, clinic: Clinic) -> None:
    small = {**SMALL, "epochs": 10} if name == "vq-vae" else SMALL
    _, found = clinic.examined("digits", digits(), recipe(name).updated(**small))
    assert (found.findings, found.notes) == ((), ())
    unmatched = name in ("ae", "vq-vae")  # whose prior nothing draws the codes to
    assert [what.split(":")[0] for what in found.unseen] == ["samples of the prior"] * unmatched


def test_idle_layers_come_from_the_metrics() -> None:
    chart = Chart(Config(), metrics={"rate_of_layers": [8.9, 0.0, 28.1]})
    (found,) = examine_chart(chart).findings
    assert found.disease == "idle layers"
    assert found.evidence == "layer 2 of 3 carries less than 0.1 nats"
    assert found.change == {"free_bits": 6.0}
    assert examine_chart(Chart(Config(), metrics={"rate_of_layers": [8.9, 0.2, 28.1]})).findings == ()


def _rates(*losses: float, lr: float = 1e-3, val: tuple[float, ...] = ()) -> Chart:
    """A course of losses, all of them distortion but for a rate of one nat."""
    history = [
        {"epoch": i + 1, "distortion": loss - 1, "rate": 1.0, "beta": 1.0, "learning_rate": lr}
        for i, loss in enumerate(losses)
    ]
    for row, loss in zip(history, val, strict=False):
        row |= {"val_distortion": loss - 1, "val_rate": 1.0}
    return Chart(Config().updated(lr=lr), history, shape=(8, 8, 1))


def test_the_last_fifth_of_the_epochs_tells_a_slow_training() -> None:
    steady = [100.0 - 5 * epoch for epoch in range(10)]  # two of ten epochs, 10 of 45 nats
    (found,) = examine_chart(_rates(*steady, lr=1e-4)).findings
    assert found.disease == "learning rate too low"
    assert found.numbers["fall_at_end"] == 10
    assert found.numbers["fall"] == 45
    assert found.change == {"lr": 1e-3}
    levelled = [100.0, 80, 70, 60, 58, 57, 56.5, 56.4, 56.3, 56.2]
    assert examine_chart(_rates(*levelled, lr=1e-4)).findings == ()
    assert examine_chart(_rates(*steady, lr=1e-3)).findings == ()  # a usual rate, a short training


def test_a_rising_loss_tells_a_hasty_training() -> None:
    (found,) = examine_chart(_rates(100, 60, 50, 75, 55, 52, lr=0.01)).findings  # 25 of a fall of 50
    assert found.disease == "learning rate too high"
    assert found.numbers == {"from": 50.0, "to": 75.0}
    assert found.change == {"lr": 1e-3}
    assert examine_chart(_rates(100, 60, 50, 55, 50, 49, lr=0.01)).findings == ()


def test_a_validation_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    train = (100.0, 60, 50, 45, 42, 40)
    assert [one.disease for one in examine_chart(_rates(*train, val=(100, 70, 65, 68, 72, 75))).findings] == [
        "overfitting"
    ]
    assert examine_chart(_rates(*train, val=(100, 70, 65, 65.5, 66, 66.5))).findings == ()


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"lr": 0.1}, {"lr": 1e-3}),
        ({"beta": 3.0}, {"beta": 1.0}),
        ({}, {"free_bits": 0.5}),
        ({"free_bits": 0.5}, {"beta_schedule": "linear"}),
    ],
)
def test_a_collapse_is_mended_by_its_likeliest_cause(options: dict[str, Any], change: dict[str, Any]) -> None:
    config = Config().updated(**options)
    row = {
        "distortion": 27.3,
        "rate": 0.02,
        "beta": config.objective.beta,
        "learning_rate": config.optimizer.lr,
    }
    chart = Chart(config, [row], shape=(8, 8, 1))
    (found,) = examine_chart(chart).findings
    assert found.disease == "posterior collapse"
    assert found.change == change
    assert examine_chart(dataclasses.replace(chart, history=[{**row, "rate": 0.2}])).findings == ()
    same = np.ones((5, 8, 8, 1), np.float32)  # nothing could be said of such examples
    assert examine_chart(dataclasses.replace(chart, values=same)).findings == ()


@pytest.mark.parametrize(
    ("beta", "hole", "rate", "said"),
    [
        (0.1, 1.5, 20.0, True),
        (0.1, 0.9, 2.0, False),
        (1.0, 3.1, 6.9, True),  # as of a continuous Bernoulli likelihood of digits
        (1.0, 1.5, 6.9, False),
        (4.0, 0.9, 1.0, False),
    ],
)
def test_where_the_rate_counts_a_hole_is_a_third_of_it(
    beta: float, hole: float, rate: float, said: bool
) -> None:
    row = {"distortion": 20.0, "rate": 1.0, "val_rate": rate, "beta": beta, "learning_rate": 1e-3}
    found = examine_chart(Chart(Config().updated(beta=beta), [row], hole=hole)).findings
    assert [(one.disease, one.change) for one in found] == [
        ("hole in the prior", {"prior": "vamp" if beta >= 1 else "mixture"})
    ] * said


@pytest.mark.parametrize(
    ("chart", "disease", "evidence"),
    [
        ({}, "posterior collapse", "the rate is 0.02 nats: codes say nothing of the examples"),
        (
            {"metrics": {"rate_of_layers": [8.9, 0.0]}},
            "idle layers",
            "layer 2 of 2 carries less than 0.1 nats",
        ),
        ({"hole": 3.1}, "hole in the prior", "a density fitted to the codes explains"),
    ],
)
def test_of_few_steps_a_note_is_made_in_place_of_a_finding(
    chart: dict[str, Any], disease: str, evidence: str
) -> None:
    rate = 5.0 if chart else 0.02
    row = {"distortion": 27.3, "rate": rate, "beta": 1.0, "learning_rate": 1e-3}

    def after(steps: int) -> Diagnosis:
        return examine_chart(Chart(Config(), [{**row, "step": steps // 2}, {**row, "step": steps}], **chart))

    found = after(300)
    assert found.findings == ()
    (note,) = found.notes
    assert note.disease == disease
    assert note.evidence.startswith(f"too early to tell; after 300 steps {evidence}")
    assert note.change == {"epochs": 7}  # of 150 steps each, for a thousand
    assert note.numbers["steps"] == 300
    later = after(500)
    assert (_names(later), later.notes) == ([disease], ())


def test_at_most_one_note_is_made_and_none_of_what_a_finding_explains() -> None:
    row = {"distortion": 27.3, "rate": 0.02, "beta": 1.0, "learning_rate": 1e-3, "step": 100}
    two = Chart(Config(), [row], metrics={"rate_of_layers": [0.02, 0.0]})
    assert [note.disease for note in examine_chart(two).notes] == ["posterior collapse"]
    heavy = examine_chart(Chart(Config().updated(beta=64), [{**row, "beta": 64}], shape=(8, 8, 1)))
    assert (_names(heavy), heavy.notes) == (["wrong KL weight"], ())


def test_of_a_model_composed_in_python_only_the_course_is_judged() -> None:
    row = {"distortion": 27.3, "rate": 0.0, "beta": 1.0, "learning_rate": 1e-3}
    assert examine_chart(Chart(Config(), [row], composed=True)).findings == ()
