"""A search for good options with Optuna: 12 trials, of which those that fall behind are pruned.

Needs `pip install optuna`.
"""

import optuna

import elboroom


def space(trial: optuna.Trial) -> dict[str, object]:
    """Choose the options of a trial."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "latent_dim": trial.suggest_int("latent_dim", 1, 16),
        "hidden": [trial.suggest_categorical("width", [16, 64, 256])],
    }


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",  # the ELBO: higher is better
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
)
study.optimize(elboroom.Sweep("digits", space, epochs=6), n_trials=12)

pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
print(
    f"best validation ELBO {study.best_value:.2f} nats with {study.best_params}; {pruned} of 12 trials pruned"
)
