"""MLflow: a server or a local store, as MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elboroom.tracking.tracker import PROJECT, Subject, Tracker

_KEY = "elboroom.run"  # the tag by which a run is found again
_MOST = 100  # parameters in one request
_LONGEST = 6000  # characters of a parameter


class MLflow(Tracker):
    """Finds its run by a tag, and asks it what it has."""

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    def begin(self, run: Subject) -> int:
        """Find the run of this folder, or create it, and log what it lacks of the configuration."""
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient, get_tracking_uri

        self._client = client = MlflowClient()
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = client.get_experiment_by_name(project)
        experiment = client.create_experiment(project) if known is None else known.experiment_id
        found = client.search_runs([experiment], f"tags.`{_KEY}` = '{run.key}'", max_results=1)
        if found:
            one = found[0]
            client.update_run(one.info.run_id, status="RUNNING")
        else:
            one = client.create_run(experiment, run_name=run.name, tags={_KEY: run.key})
        self._id = one.info.run_id
        text = {name: str(value)[:_LONGEST] for name, value in run.parameters.items()}
        new = [Param(name, value) for name, value in text.items() if name not in one.data.params]
        for i in range(0, len(new), _MOST):
            client.log_batch(self._id, params=new[i : i + _MOST])
        for name, value in text.items():
            if one.data.params.get(name, value) != value:  # MLflow's parameters cannot change
                client.set_tag(self._id, f"resumed.{name}", value)
        self.hint = f"experiment {project!r} of {get_tracking_uri()}"
        # Rows are logged in one request each, and "step" is the last of its numbers.
        return max((metric.step for metric in client.get_metric_history(self._id, "step")), default=-1)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log all numbers in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            self._id, metrics=[Metric(name, value, now, step) for name, value in numbers.items()]
        )

    def figure(self, name: str, path: Path, step: int) -> None:  # noqa: ARG002 (its name says which epoch)
        """Log an artifact."""
        self._client.log_artifact(self._id, str(path), str(Path(name).parent))

    def close(self) -> None:
        """End the run."""
        if self._id:
            self._client.set_terminated(self._id)
