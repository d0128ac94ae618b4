from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pydantic
import pytest

from elboroom.config import (
    Config,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    Section,
    TrainingConfig,
    preset_names,
    read_preset,
    read_toml,
)
from elboroom.errors import ElboroomError, FailureError, UsageError, nearest

SECTIONS = {name: type(getattr(Config(), name)) for name in Config.model_fields}

# section, field, a value that does not fit, and what the error says is allowed
WRONG: list[tuple[type[Section], str, Any, str]] = [
    (ModelConfig, "latent_dim", 0, "must be at least 1"),
    (ModelConfig, "latent_dim", -3, "must be at least 1"),
    (ModelConfig, "latent_dim", 2.5, "must be a whole number"),
    (ModelConfig, "latent_dim", "two", "must be a whole number"),
    (ModelConfig, "latent_dim", None, "must be a whole number"),
    (ModelConfig, "hidden", (400, 0), "must be at least 1"),
    (ModelConfig, "hidden", 400, "must be a list"),
    (ModelConfig, "decoder_hidden", (-1,), "must be at least 1"),
    (ModelConfig, "shape", (28, 28, 0), "must be at least 1"),
    (ModelConfig, "scale", 0.0, "must be above 0"),
    (ModelConfig, "scale", math.inf, "finite"),
    (ModelConfig, "activation", "rleu", "'relu', 'tanh'"),
    (ModelConfig, "normalization", "spectral", "'auto', 'none', 'layer', 'batch' or 'group'"),
    (ModelConfig, "init", "", "'torch', 'xavier', 'kaiming' or 'affine'"),
    (ModelConfig, "likelihood", "normal", "'bernoulli', 'continuous_bernoulli', 'gaussian'"),
    (ModelConfig, "posterior", "normal", "'diagonal', 'full'"),
    (ModelConfig, "prior", "diagonal", "'auto', 'normal', 'mixture'"),
    (ModelConfig, "network", "unet", "'mlp', 'conv', 'spatial', 'autoencoder-kl', 'ladder' or 'chain'"),
    (ModelConfig, "prior_components", 0, "must be at least 1"),
    (ModelConfig, "codebook_size", 1, "must be at least 2"),
    (ModelConfig, "fsq_levels", (0,), "must be at least 3"),
    (ModelConfig, "chain_dims", (0,), "must be at least 1"),
    (ModelConfig, "df", 0.0, "must be above 0"),
    (ModelConfig, "likelihood_scale", 0.0, "must be above 0"),
    (ModelConfig, "likelihood_scale", math.nan, "finite"),
    (ModelConfig, "learn_scale", "perhaps", "must be 'none', 'shared', 'pixel' or 'optimal'"),
    (ObjectiveConfig, "beta", -1.0, "must be at least 0"),
    (ObjectiveConfig, "beta", math.nan, "finite"),
    (ObjectiveConfig, "beta", math.inf, "finite"),
    (ObjectiveConfig, "beta", "four", "number"),
    (ObjectiveConfig, "beta_schedule", "cosine", "'constant', 'linear'"),
    (ObjectiveConfig, "beta_ramp", 0.0, "must be above 0"),
    (ObjectiveConfig, "beta_delay", -0.5, "must be at least 0"),
    (ObjectiveConfig, "bound", "IWAE", "'elbo', 'iwae'"),
    (ObjectiveConfig, "num_samples", 0, "must be at least 1"),
    (ObjectiveConfig, "elbo_share", 1.5, "must be at most 1"),
    (ObjectiveConfig, "penalties", 3, "must be a table"),
    (ObjectiveConfig, "penalties", {"total_corelation": 1}, "did you mean 'total_correlation'?"),
    (OptimizerConfig, "lr", 0.0, "must be above 0"),
    (OptimizerConfig, "lr", -math.inf, "finite"),
    (OptimizerConfig, "clip", 0.0, "must be above 0"),
    (OptimizerConfig, "optimizer_options", "betas", "key=value"),
    (OptimizerConfig, "optimizer_options", [1], "must be a table"),
    (DataConfig, "channels", 2, "1 or 3"),
    (DataConfig, "validation", 1.0, "must be below 1"),
    (DataConfig, "validation", math.nan, "must be below 1"),
    (TrainingConfig, "epochs", 0, "must be at least 1"),
    (TrainingConfig, "batch_size", 0, "must be at least 1"),
    (TrainingConfig, "seed", -1, "must be at least 0"),
]


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("section", "field", "value", "allowed"), WRONG)
def test_a_wrong_value_is_named_with_what_is_allowed(
    section: type[Section], field: str, value: Any, allowed: str
) -> None:
    with pytest.raises(UsageError) as error:
        section(**{field: value})
    text = one_line(error)
    shown = next((v for v in value if v < 1), value) if isinstance(value, tuple) else value
    assert text.startswith(f"{field} = {shown!r}: ")
    assert allowed in text


@pytest.mark.parametrize(
    ("section", "typo", "meant"),
    [
        (ModelConfig, "latent_dims", "latent_dim"),
        (ModelConfig, "hiden", "hidden"),
        (ObjectiveConfig, "bta", "beta"),
        (OptimizerConfig, "optimiser", "optimizer"),
        (TrainingConfig, "batchsize", "batch_size"),
        (Config, "modle", "model"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_name(
    section: type[Section], typo: str, meant: str
) -> None:
    with pytest.raises(UsageError) as error:
        section(**{typo: 1})
    assert repr(typo) in one_line(error)
    assert f"did you mean {meant!r}?" in str(error.value)


def test_a_wrong_weight_is_named_with_its_penalty() -> None:
    with pytest.raises(UsageError, match=r"^penalties.mmd_rbf = 'strong': must be a number$"):
        ObjectiveConfig(penalties={"mmd_rbf": "strong"})


def test_an_unknown_key_near_none_lists_them_all() -> None:
    with pytest.raises(UsageError) as error:
        ObjectiveConfig(xyzzy=1)
    assert "known: beta, beta_delay, beta_period, beta_ramp, beta_schedule" in one_line(error)


def test_a_ramp_longer_than_its_cycle_is_an_error() -> None:
    with pytest.raises(
        UsageError, match=r"beta_ramp = 3 epochs does not fit in beta_period = 2; make"
    ) as error:
        ObjectiveConfig(beta_schedule="cyclical", beta_ramp=3, beta_period=2)
    assert "\n" not in str(error.value)
    ObjectiveConfig(beta_schedule="cyclical", beta_ramp=2, beta_period=2)
    ObjectiveConfig(beta_schedule="linear", beta_ramp=3, beta_period=2)


@pytest.mark.parametrize(
    ("given", "field", "kept"),
    [
        ({"hidden": [8, 4]}, "hidden", (8, 4)),
        ({"hidden": []}, "hidden", ()),
        ({"latent_dim": 8.0}, "latent_dim", 8),
        ({"scale": 16}, "scale", 16.0),
    ],
)
def test_values_are_brought_to_their_types(given: dict[str, Any], field: str, kept: Any) -> None:
    value = getattr(ModelConfig(**given), field)
    assert (value, type(value)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("betas=[0.9, 0.95], weight_decay=0.01", {"betas": [0.9, 0.95], "weight_decay": 0.01}),
        ("nesterov=true", {"nesterov": True}),
        ("name='a, b=c', T_max=100", {"name": "a, b=c", "T_max": 100}),
        ("", {}),
    ],
)
def test_options_may_be_given_as_toml(text: str, options: dict[str, Any]) -> None:
    assert OptimizerConfig(optimizer_options=text).optimizer_options == options
    assert OptimizerConfig(optimizer_options=options).optimizer_options == options


def test_weights_may_be_given_as_toml() -> None:
    expected = {"mmd_rbf": 10.0, "code_norm": 0.5}
    assert ObjectiveConfig(penalties="mmd_rbf=10, code_norm=0.5").penalties == expected


@pytest.mark.parametrize(("old", "new"), [(False, "none"), (True, "shared")])
def test_scales_of_old_runs_are_read(old: bool, new: str) -> None:
    assert ModelConfig(likelihood="gaussian", learn_scale=old).learn_scale == new


def test_a_run_of_before_the_zoo_is_read() -> None:
    model = {"latent_dim": 2, "network": "mlp", "likelihood": "gaussian", "learn_scale": True}
    model |= {"likelihood_scale": 0.3, "output": "sigmoid", "posterior_scale": "exp", "shape": [3]}
    config = Config(model=model, objective={"beta": 4.0, "beta_schedule": "linear"})
    assert (config.model.posterior, config.model.prior, config.objective.bound) == (
        "diagonal",
        "auto",
        "elbo",
    )


def test_field_names_are_unique_across_sections() -> None:
    names = list(itertools.chain.from_iterable(section.model_fields for section in SECTIONS.values()))
    assert sorted(names) == sorted(set(names))


def test_every_field_says_what_it_is() -> None:
    for section in SECTIONS.values():
        assert [name for name, field in section.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_are_frozen(name: str) -> None:
    section = getattr(Config(), name)
    field = next(iter(type(section).model_fields))
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(section, field, getattr(section, field))


def test_defaults_are_not_shared() -> None:
    OptimizerConfig().optimizer_options["betas"] = 1
    assert OptimizerConfig().optimizer_options == {}
    assert Config().optimizer.optimizer_options == {}


# updated and merged


def test_updated_finds_the_section() -> None:
    base = Config()
    changed = base.updated(latent_dim=8, beta=4, lr=1e-4, size=64, epochs=3)
    assert changed == Config(
        data=DataConfig(size=64),
        model=ModelConfig(latent_dim=8),
        objective=ObjectiveConfig(beta=4),
        optimizer=OptimizerConfig(lr=1e-4),
        training=TrainingConfig(epochs=3),
    )
    assert base == Config()


@pytest.mark.parametrize("name", SECTIONS)
def test_updated_knows_every_field(name: str) -> None:
    base = Config(model=ModelConfig(shape=(3,), hidden=(5,)), training=TrainingConfig(seed=7))
    for field, value in dict(getattr(base, name)).items():
        assert base.updated(**{field: value}) == base


def test_changes_lie_over_what_was_set() -> None:
    base = Config().updated(latent_dim=8, hidden=(5,))
    assert base.merged({"model": {"latent_dim": 3}}).model == ModelConfig(latent_dim=3, hidden=(5,))
    assert base.merged({}) == base


def test_changes_are_checked_together() -> None:
    base = Config().updated(beta_schedule="cyclical", beta_ramp=10, beta_period=20)
    with pytest.raises(UsageError, match="does not fit"):
        base.updated(beta_period=5)
    assert base.updated(beta_period=5, beta_ramp=5).objective.beta_period == 5


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.updated(latent_dmi=3), "unknown option 'latent_dmi'; did you mean 'latent_dim'?"),
        (lambda c: c.updated(model=ModelConfig()), "unknown option 'model'"),
        (lambda c: c.updated(latent_dim=0), "latent_dim = 0: "),
        (lambda c: c.merged({"modle": {}}), "unknown section [modle]; did you mean 'model'?"),
        (lambda c: c.merged({"model": 3}), "model = 3: a section"),
        (lambda c: c.merged({"model": {"beta": 3}}), "unknown option 'beta' in ModelConfig"),
    ],
)
def test_changes_that_do_not_fit_are_errors(change: Any, text: str) -> None:
    with pytest.raises(UsageError) as error:
        change(Config())
    assert text in one_line(error)


# Files


def test_toml_lies_over_the_base(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[model]\nlatent_dim = 8\nhidden = [5]\n[optimizer]\noptimizer_options = {eps = 1e-4}\n")
    expected = Config().updated(latent_dim=8, hidden=(5,), optimizer_options={"eps": 1e-4})
    assert read_toml(path) == expected
    assert read_toml(path, Config().updated(epochs=3)) == expected.updated(epochs=3)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read the config"),
        (b"latent_dim 8", "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        (b"[modle]\nlatent_dim = 8", "unknown section [modle]; did you mean 'model'?"),
        (b"latent_dim = 8", "unknown section [latent_dim]"),
        (b"[model]\nlatent = 8", "unknown option 'latent' in ModelConfig; did you mean 'latent_dim'?"),
        (b"[model]\nlatent_dim = 0", "latent_dim = 0: "),
        (b"[objective]\nbeta = nan", "beta = nan: "),
        (b"model = 3", "model = 3: a section"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_path(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_toml(path)
    assert str(path) in one_line(error)
    assert text in str(error.value)


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the config"):
        read_toml(tmp_path)


def test_every_preset_can_be_read() -> None:
    for name in preset_names():
        assert isinstance(read_preset(name), Config)
    with pytest.raises(UsageError, match="unknown preset 'no such preset'"):
        read_preset("no such preset")


CHANGED = {
    "shape": (28, 28, 1),
    "likelihood": "gaussian",
    "likelihood_scale": 1 / 3,  # not a short decimal: JSON must keep every bit
    "hidden": (),
    "decoder_hidden": (7, 5),
    "optimizer_options": {"betas": [0.9, 0.95], "fused": True},
    "learn_scale": "pixel",
    "posterior": "iaf",
    "posterior_steps": 3,
    "prior": "flow",
    "bound": "miwae",
    "num_samples": 16,
    "penalties": {"mmd_rbf": 1 / 3},
    "lr": 3e-5,
    "clip": None,
    "validation": 0.0,
    "source": "ein Ordner/mit Bildern, ÄÖÜ",
}


@pytest.mark.parametrize("config", [Config(), Config().updated(**CHANGED)], ids=["default", "changed"])
def test_json_round_trip(config: Config) -> None:
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config(**json.loads(config.model_dump_json())) == config


# Errors


def test_the_two_errors_carry_their_exit_codes() -> None:
    assert (UsageError.exit_code, FailureError.exit_code) == (2, 1)
    assert issubclass(UsageError, ElboroomError | ValueError)
    assert issubclass(FailureError, ElboroomError | RuntimeError)


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("minst", {"mnist", "digits"}, "did you mean 'mnist'? Known: digits, mnist"),
        ("minst", ["mnist", *"abcd"], "did you mean 'mnist'?"),
        ("xyzzy", ["b", "a"], "known: a, b"),
        ("a", {}, "known: "),
    ],
)
def test_nearest(name: str, known: Any, text: str) -> None:
    assert nearest(name, known) == text
