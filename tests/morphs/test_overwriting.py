"""No verb that writes pictures replaces an earlier one unasked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from elboroom.cli.main import main
from elboroom.cli.outputs import free_files
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.latent import arrays
from elboroom.runs.run import Run

VERBS = {
    "sample --n 2": ["samples/samples.png"],
    "traverse --steps 2 --dims 0": ["figures/traversals.png"],
    "morph :0 :1 --steps 2": ["figures/morph.gif"],
    "neighbours :0 --n 1": ["figures/neighbours.png"],
    "reconstruct :0": ["figures/0-reconstruction.png", "figures/reconstruct.png"],
    "figures --only latent": ["figures/latent.png"],
}


@pytest.mark.parametrize("line", VERBS)
def test_a_second_picture_is_numbered_and_replaces_the_first_only_when_asked_to(
    line: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)
    verb, *options = line.split()
    first = [own / name for name in VERBS[line]]
    second, third = ([p.with_name(f"{p.stem}-{k}{p.suffix}") for p in first] for k in (2, 3))
    for paths in (first, second, third):
        assert not any(path.exists() for path in paths)
        assert main([verb, str(own), *options]) == 0
        assert re.findall(r"picture  (\S+)", capsys.readouterr().err) == [
            str(path.relative_to(tmp_path)) for path in paths
        ]
        for path in paths:
            path.write_bytes(b"earlier")
    assert main([verb, str(own), *options, "--overwrite"]) == 0
    assert all(path.read_bytes() != b"earlier" for path in first)
    assert all(path.read_bytes() == b"earlier" for path in (*second, *third))
    assert sum(path.name.startswith(first[0].stem) for path in first[0].parent.iterdir()) == 3


@pytest.mark.parametrize("line", VERBS)
def test_a_place_that_was_named_is_refused_if_it_is_taken(
    line: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is drawn, so that a script does not read an old picture for the new one."""
    verb, *options = line.split()
    name = Path(VERBS[line][-1]).name
    taken = tmp_path / "here" / name
    taken.parent.mkdir()
    taken.write_bytes(b"earlier")
    out = taken.parent if verb in ("figures", "reconstruct") else taken
    assert main([verb, str(run), *options, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"here/{name} already exists; replace it with --overwrite, or give another --out" in said
    assert [path.read_bytes() for path in taken.parent.iterdir()] == [b"earlier"]
    assert main([verb, str(run), *options, "--out", str(out), "--overwrite"]) == 0
    assert taken.read_bytes() != b"earlier"


def test_files_that_belong_together_have_one_number(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    assert free_files(paths, named=False, overwrite=False) == paths
    (tmp_path / "b.png").touch()
    (tmp_path / "a-2.png").touch()
    numbered = free_files(paths, named=False, overwrite=False)
    assert [path.name for path in numbered] == ["a-3.png", "b-3.png"]
    assert free_files(paths, named=True, overwrite=True) == paths
    with pytest.raises(UsageError, match=r"b\.png already exists"):
        free_files(paths, named=True, overwrite=False)


def test_reconstruct_prints_the_loss_that_its_sheet_shows(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("elboroom.cli.outputs.save_figure", lambda figure, _: drawn.append(figure))
    assert main(["reconstruct", str(run), ":1", ":0", "--out", "r"]) == 0
    printed = re.findall(r"loss (\S+ ± \S+) nats \(−ELBO, mean of 32 draws\)", capsys.readouterr().out)
    shown = [label.get_text().split("\n")[-1] for label in drawn[0].axes[0].get_yticklabels()]
    assert [f"{loss} nats" for loss in printed] == shown
    x = load_data(run.parent / "toy.npz").x
    alone = arrays.losses_with_errors(Run(run).model(), x[:1])
    assert arrays.with_error(alone[0][0], alone[1][0]) == printed[1]


@pytest.mark.parametrize(("path", "ends"), [("linear", ":0 :1"), ("spherical", ":1 dog:mean")])
def test_a_strip_says_where_it_leads_and_which_way(
    path: str, ends: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr("elboroom.cli.outputs.save_figure", lambda figure, _: drawn.append(figure))
    assert main(["morph", str(run), *ends.split(), "--path", path, "--out", "m.png"]) == 0
    start, end = ends.split()
    said = " ".join(text.get_text().replace("\n", " ") for text in drawn[0].texts)
    assert said == f"From {start} to {end}: decoded codes on a {path} path; originals are framed"
