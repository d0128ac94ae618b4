"""Labels are classes: what counts is what they are called, not their order, or how large the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom import VAE, Config, fit, load, load_data
from elboroom.cli.inputs.model import named_condition
from elboroom.cli.main import main
from elboroom.data import Dataset
from elboroom.data.arrays import from_array
from elboroom.data.conditioned import condition_size, conditions_of, label_ids
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of
from elboroom.models.conditioning import Conditioning
from elboroom.training.prepare import build

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (90, 4, 4, 1)).astype(np.uint8)
PLACES = RNG.integers(0, 3, 90)
IDS = np.array([3, 7, 42])
WORDS = np.array(["ant", "bee", "cow"])
MODEL: dict[str, Any] = {"shape": (4, 4, 1), "hidden": (4,), "condition": "labels"}


def config(**options: Any) -> Config:
    return Config().updated(condition="labels", hidden=(6,), epochs=2, batch_size=30, **options)


def trained(labels: Any, out: Path | None = None, **options: Any) -> VAE:
    data = from_array(X, "pets", labels=labels)
    settings = config(**options)
    vae = build(settings, data)
    fit(vae, data, out=out, config=settings, quiet=True)
    return vae


@pytest.mark.parametrize("names", [IDS, WORDS, IDS * 10**8, np.array(["10", "9", "2024"])], ids=str)
def test_three_classes_train_alike_whatever_they_are_called(names: Any) -> None:
    """Words and numbers in words are put in order as text, so places follow that order here."""
    order = np.argsort(names)
    told, plain = trained(names[order][PLACES]), trained(PLACES)
    assert told.conditioning is not None
    assert told.conditioning.size == 3
    weights = zip(told.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    for place, name in enumerate(names[order].tolist()):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            expected = plain.sample(4, condition=place)
        for given in {str(name), name}:
            with torch.random.fork_rng():
                torch.manual_seed(1)
                assert torch.equal(told.sample(4, condition=given), expected)
        found = named_condition(told, str(name))
        assert found is not None
        assert found.tolist() == np.eye(3)[place].tolist()


def test_a_label_is_never_taken_for_a_place() -> None:
    by_id, by_word = trained(IDS[PLACES]), trained(WORDS[PLACES])
    for vae, wrong in ((by_id, 1), (by_id, "1"), (by_word, "1"), (by_id, [3, 7, 8, 42]), (by_id, 10**8)):
        with pytest.raises(UsageError, match="label"):
            vae.sample(1 if np.ndim(wrong) == 0 else 4, condition=wrong)
    assert by_id.conditioning is not None
    assert by_id.conditioning.describe() == "a label: 3, 7, 42"
    with pytest.raises(UsageError, match="no label '2'; the model takes a label: 3, 7, 42"):
        named_condition(by_id, "2")
    # 0, 2 and 4 are places as well, so the numbers of such names would be ambiguous.
    named = Conditioning("labels", 3, shape=(4,), names=("0", "2", "4"))
    assert named.vectors("2", 1, torch.zeros(())).tolist() == [[0, 1, 0]]
    with pytest.raises(UsageError, match="give the name as text, such as condition='0'"):
        named.vectors(2, 1, torch.zeros(()))


@pytest.mark.parametrize(
    ("labels", "names", "size", "ids"),
    [
        ([3, 7, 42], (), 3, (3, 7, 42)),
        ([2022, 2024, 2022], (), 2, (2022, 2024)),
        ([0, 1, 2], (), 3, ()),
        ([1, 2, 3], (), 3, (1, 2, 3)),
        ([0, 2], (), 2, (0, 2)),
        ([0, 10**8], (), 2, (0, 10**8)),
        ([0, 1], ("a", "b", "c"), 3, ()),
    ],
)
def test_classes_are_counted(labels: Any, names: Any, size: int, ids: Any) -> None:
    data = Dataset("d", np.zeros((len(labels), 2)), np.zeros(len(labels)), np.array(labels), names)
    assert (condition_size(data, "labels"), label_ids(data)) == (size, ids)


def data_with(labels: Any, names: tuple[str, ...] = ()) -> Dataset:
    return Dataset("new", np.zeros((len(labels), 4)), np.zeros(len(labels)), np.array(labels), names)


WORDED = Conditioning("labels", 3, shape=(4,), names=("ant", "bee", "cow"))
NUMBERED = Conditioning("labels", 3, shape=(4,), ids=(3, 7, 42))
PLAIN = Conditioning("labels", 10, shape=(4,))


@pytest.mark.parametrize(
    ("wanted", "data", "places"),
    [
        (WORDED, data_with([0, 1, 1], ("cow", "ant")), [2, 0, 0]),  # a subset in another order
        (WORDED, data_with([0, 2, 0], ("bee", "elk", "cow")), [1, 2, 1]),  # no example is an elk
        (NUMBERED, data_with([42, 3]), [2, 0]),
        (NUMBERED, data_with([0, 1, 0], ("7", "3")), [1, 0, 1]),
        (PLAIN, data_with([9, 4]), [9, 4]),
        (PLAIN, data_with([0, 1], ("9", "4")), [9, 4]),
        (PLAIN, data_with([0, 1], ("ant", "bee")), [0, 1]),  # such a model knows their order only
        (Conditioning("labels", 2, shape=(4,), names=("0", "1")), data_with([1, 0]), [1, 0]),
    ],
)
def test_new_data_are_mapped_by_name(wanted: Conditioning, data: Dataset, places: list[int]) -> None:
    assert conditions_of(data, wanted).tolist() == places


@pytest.mark.parametrize(
    ("wanted", "data", "text"),
    [
        (
            WORDED,
            data_with([0, 1], ("bee", "elk")),
            "has elk, which the model does not know: .* ant, bee, cow",
        ),
        (WORDED, data_with([0, 1]), "has 0, 1, which .*; the data need names for their labels"),
        (NUMBERED, data_with([3, 4]), "has 4, which the model does not know: its labels are 3, 7, 42"),
        (PLAIN, data_with([3, 10]), "has 10, which"),
        (
            NUMBERED,
            data_with([3, -1, 7, -1]),
            "2 labels are negative, .* .row 1, counting from 0, has -1",
        ),
    ],
)
def test_only_unknown_classes_are_refused(wanted: Conditioning, data: Dataset, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        conditions_of(data, wanted)


def test_examples_carry_labels_as_the_model_takes_them() -> None:
    vae = trained(IDS[PLACES])
    data = from_array(X[:3], "new", labels=np.array([42, 3, 42]))
    found = examples_of(vae, data, np.arange(3))
    assert found.condition.tolist() == [42, 3, 42]  # type: ignore[union-attr]
    assert torch.equal(vae.embed(found), vae.embed(X[:3], np.eye(3)[[2, 0, 2]]))
    numbers_as_names = VAE.build(**MODEL, condition_dim=2, condition_names=("5", "0"))
    told = examples_of(numbers_as_names, from_array(X[:2], "new", labels=np.array([0, 5])), np.arange(2))
    assert told.condition.tolist() == ["0", "5"]  # type: ignore[union-attr]
    assert torch.equal(numbers_as_names.embed(told), numbers_as_names.embed(X[:2], np.eye(2)[[1, 0]]))


def test_labels_survive_a_run_and_a_resumption(tmp_path: Path) -> None:
    trained(IDS[PLACES], tmp_path / "run")
    vae = load(tmp_path / "run")
    assert vae.conditioning is not None
    assert vae.conditioning.ids == (3, 7, 42)
    data = from_array(X, "pets", labels=IDS[PLACES])
    fit(vae, data, out=tmp_path / "run", epochs=3, resume=True, quiet=True)


def test_a_run_of_before_keeps_its_43_classes(tmp_path: Path) -> None:
    """It was trained with one-hot labels of the largest number, plus one."""
    settings = config(condition_dim=43)
    data = from_array(X, "pets", labels=IDS[PLACES])
    vae = VAE.build(settings.model, shape=data.shape, scale=data.scale)
    fit(vae, data, out=tmp_path / "run", config=settings, quiet=True)
    path = tmp_path / "run" / "config.json"
    held = json.loads(path.read_text())
    assert held["model"].pop("condition_ids") == []
    path.write_text(json.dumps(held))
    again = load(tmp_path / "run")
    assert torch.equal(again.embed(X, IDS[PLACES]), vae.embed(X, IDS[PLACES]))
    assert torch.equal(again.embed(examples_of(again, data, np.arange(90))), vae.embed(X, IDS[PLACES]))
    fit(again, data, out=tmp_path / "run", epochs=3, resume=True, quiet=True)


@pytest.mark.parametrize("labels", [WORDS[PLACES], IDS[PLACES]], ids=["words", "numbers"])
def test_a_model_of_so_many_labels_learns_what_they_are_called(labels: Any, tmp_path: Path) -> None:
    vae = VAE.build(**MODEL, condition_dim=3)
    fit(vae, from_array(X, "pets", labels=labels), out=tmp_path / "run", epochs=1, quiet=True)
    for model in (vae, load(tmp_path / "run")):
        assert model.conditioning is not None
        assert [model.conditioning.name_of(i) for i in range(3)] == np.unique(labels).astype(str).tolist()
        turned = data_with([0, 1], (str(np.unique(labels)[2]), str(np.unique(labels)[0])))
        assert conditions_of(turned, model.conditioning).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (
            np.where(PLACES == 1, np.nan, PLACES),
            "of 90 examples is nan, first in row",
        ),
        (PLACES + 0.5, "which is not a whole number, first in row 0"),
        (np.where(PLACES == 1, np.inf, PLACES), "is inf, which is beyond 64 bits"),
        (PLACES.astype(np.uint64) + 2**63, "beyond 64 bits"),
        (PLACES.astype(complex), "labels hold complex128; they must be whole numbers or text"),
    ],
)
def test_labels_that_are_none_are_named(labels: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        from_array(X, "pets", labels=labels)


def test_a_label_that_is_not_known_is_no_class_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i * i},{'nan' if i % 3 == 0 else i % 2}" for i in range(30)]
    path.write_text("\n".join(["a,label", *rows]))
    with pytest.raises(UsageError, match="the label of 10 of 30 rows is 'nan', and the others are numbers"):
        load_data(path)
    path.write_text(
        "\n".join(["a,label", *(row.replace("nan", "naan").replace(",1", ",nan") for row in rows)])
    )
    assert set(load_data(path).label_names) == {"0", "naan", "nan"}  # bread


def test_the_command_line_draws_classes_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = tmp_path / "pets.npz", str(tmp_path / "run")
    np.savez(path, images=X, labels=IDS[PLACES] * 10**7)
    settings = config(source=str(path))
    data = load_data(path)
    fit(build(settings, data), data, out=run, config=settings, quiet=True)
    z = tmp_path / "z.npy"
    assert main(["sample", run, "--label", "70000000", "--n", "3", "--out", str(z)]) == 0
    assert np.load(z).shape == (3, 4, 4, 1)
    capsys.readouterr()
    assert main(["sample", run, "--label", "2"]) == 2
    assert "no label '2'; the model takes a label: 30000000, 70000000, 420000000" in capsys.readouterr().err
    assert main(["sample", run, "--n", "6"]) == 0  # a row for each
    assert main(["figures", run, "--only", "samples_by_class", "analogies"]) == 0
    some = PLACES != 1
    np.savez(tmp_path / "new.npz", images=X[some], labels=IDS[PLACES][some] * 10**7)
    assert main(["evaluate", run, "--data", str(tmp_path / "new.npz"), "--split", "all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["examples"] == some.sum()
    assert main(["report", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == [str(each * 10**7) for each in IDS]
    out = str(tmp_path / "m.gif")
    assert main(["morph", run, "30000000:random", "420000000:mean", "--steps", "3", "--out", out]) == 0
    assert (
        main(["morph", run, ":0", "--to-label", "70000000", "--steps", "3", "--out", out[:-4] + "2.gif"]) == 0
    )
