"""What ``make gpu`` does: its parts, limits, files and exit codes, tried without a GPU."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from benchmarks.engine.__main__ import arguments as engine_arguments
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import evaluation, recipes
from benchmarks.gpu.report import markdown


def part(code: str, limit: int = 60) -> gpu.Part:
    return gpu.Part(["-c", code, "OUT"], limit, {"ELBOROOM_TOLD": "yes"})


def test_without_a_gpu_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert gpu.main(["--out", str(tmp_path / "gpu.json")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "built without CUDA" in said
    assert "pip install" in said
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert gpu.main(["--out", str(tmp_path / "gpu.json")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "driver for CUDA 13.0" in said
    assert not list(tmp_path.iterdir())


def test_the_tests_have_four_minutes_when_all_else_takes_its_time() -> None:
    assert gpu._SECONDS < 600
    assert list(gpu.PARTS)[-1] == "tests"
    assert gpu._SECONDS - sum(each.limit for name, each in gpu.PARTS.items() if name != "tests") >= 240
    assert gpu.PARTS["tests"].environment["ELBOROOM_TEST_CUDA"] == "1"


def test_the_engine_is_given_options_that_it_knows() -> None:
    words = gpu.PARTS["engine"].command
    assert engine_arguments(words[2:]).device == "cuda"


def test_a_part_reports_its_result_or_its_end(tmp_path: Path) -> None:
    write = (
        "import os, sys, json; json.dump(os.environ['ELBOROOM_TOLD'], open(sys.argv[1], 'w')); print('said')"
    )
    found = gpu.run(part(write), tmp_path, 60)
    assert (found["ok"], found["result"], found["last_lines"]) == (True, "yes", ["said"])
    found = gpu.run(part("print('broken'); raise SystemExit(3)"), tmp_path, 60)
    assert (found["ok"], found["exit_code"], found["result"]) == (False, 3, None)
    assert found["last_lines"] == ["broken"]


def test_a_part_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    code = "import subprocess, sys, time; "
    code += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); time.sleep(99)"
    found = gpu.run(part(code), tmp_path, 2)
    assert (found["ok"], found["exit_code"], found["why"]) == (False, None, "not done within 2 s")
    assert found["seconds"] < 30
    limit = time.monotonic() + 20
    while set(psutil.Process().children(recursive=True)) - before and time.monotonic() < limit:
        time.sleep(0.1)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_the_tests_that_failed_are_named_without_a_summary(tmp_path: Path) -> None:
    lines = ["[gw0] [ 9%] FAILED t.py::test_a[x - y] ", "[gw1] [100%] ERROR t.py::test_b ", "t.py::test_c "]
    lines += ["[gw0] [ 12%] PASSED t.py::test_d ", "FAILED to do - something"]
    found = gpu.run(part(f"print({os.linesep.join(lines)!r}); raise SystemExit(1)"), tmp_path, 60)
    assert found["failed"] == ["t.py::test_a[x - y]", "t.py::test_b"]
    assert "-v" in gpu.PARTS["tests"].command  # prints such lines


def test_all_is_written_with_the_name_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"eager": 2000.0, "captured": 250.0, "difference": 0.0, "reason": None, "ok": True}
    fine = {
        "ok": True,
        "wanted": 2,
        "rows": {"vae": row, "iaf": {"ok": False, "error": "RuntimeError: a | b"}},
    }
    monkeypatch.setattr(gpu, "missing_gpu", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Imagined 9000")
    monkeypatch.setattr(
        gpu,
        "PARTS",
        {
            "recipes": part(f"import sys; open(sys.argv[1], 'w').write('''{json.dumps(fine)}''')"),
            "tests": part("print('[gw0] [ 9%] FAILED t.py::a\\n1 failed, 2 passed'); raise SystemExit(1)"),
        },
    )
    out = tmp_path / "gpu.json"
    assert gpu.main(["--out", str(out), "--parts", "recipes"]) == 0
    assert gpu.main(["--out", str(out), "--parts", "recipes", "tests"]) == 1
    result = json.loads(out.read_text())
    assert (result["gpu"], result["torch"], result["ok"]) == ("Imagined 9000", torch.__version__, False)
    assert result["parts"]["recipes"]["result"] == fine
    text = out.with_suffix(".md").read_text()
    assert "Imagined 9000, torch" in text
    assert "| vae | 2,000 | 250 | 8.0 | 0e+00 |  |" in text
    assert "RuntimeError: a \\| b" in text
    assert "| tests | failed with exit code 1 |" in text
    assert "Failed in tests:\n\n- `t.py::a`\n" in text
    assert "1 failed, 2 passed" in text
    assert text in capsys.readouterr().out


def run_main(main: Any, monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> tuple[int, Any]:
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(out), *words])
    return main(), json.loads(out.read_text())


def test_each_recipe_is_trained_in_both_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("vae", "vae, four batches added up")
    words = ("--width", "4", "--side", "4", "--steps", "2", "--seconds", "0.01", "--names", *names, "no-such")
    code, found = run_main(recipes.main, monkeypatch, tmp_path / "r.json", *words)
    assert (code, found["ok"], found["wanted"]) == (1, False, len(names) + 1)
    for name in names:
        assert found["rows"][name]["ok"]
        assert found["rows"][name]["difference"] == 0
    assert "no-such" in found["rows"]["no-such"]["error"]
    assert f"{found['wanted']} of {found['wanted']} recipes" in markdown_of("recipes", found)
    assert "| no-such | – |" in markdown_of("recipes", found)


def test_a_recipe_that_trains_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recipes.images(200, 4)
    curve, calls = recipes.curve, []

    def other(data: Any, config: Any) -> Any:
        history, *rest = curve(data, config)
        calls.append(config.training.capture)
        if config.training.capture == "auto":
            history[-1]["loss"] *= 1 + 1e-4
        return history, *rest

    monkeypatch.setattr(recipes, "curve", other)
    found = recipes.check("vae", data, "cpu", width=4, steps=2, seconds=0.01)
    assert not found["ok"]
    assert found["difference"] == pytest.approx(1e-4, rel=1e-2)
    assert found["difference_of_itself"] == 0
    assert calls == ["off", "auto", "off"]


def test_evaluation_is_compared_and_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("--images", "4", "--num-samples", "20", "--embedded", "9", "--rounds", "1")
    code, found = run_main(evaluation.main, monkeypatch, tmp_path / "e.json", *words)
    assert (code, found["ok"]) == (0, True)
    assert found["milliseconds"]["nll, plain loop"] > 0
    assert "| nll, plain loop |" in markdown_of("evaluation", found)
    assert "| conv 28×28 | room for few draws |" in markdown_of("evaluation", found)


def test_the_plain_loops_compute_the_same() -> None:
    vae, x = evaluation.model("784-400-400-20", torch.device("cpu")), evaluation.images(5)
    torch.testing.assert_close(evaluation.plain_codes(vae, x), vae.embed(x))
    with evaluation.same_noise():
        expected = vae.nll(x, 10).value
    with evaluation.same_noise():
        torch.testing.assert_close(evaluation.plain_nll(vae, x, 10), expected)


def markdown_of(name: str, result: Any) -> str:
    about = {"gpu": "g", "torch": "t", "cuda": "c", "machine": {"date": "2026-01-01T00:00"}, "seconds": 1.0}
    parts = {name: {"ok": True, "seconds": 1.0, "exit_code": 0, "result": result}}
    return markdown({**about, "parts": parts})
