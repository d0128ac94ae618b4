"""What each tracker holds of a run, read with the tracker's own tools: rows by step, figures, parameters."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Found(NamedTuple):
    points: list[tuple[str, int, float]]  # column, step, value, with every repetition
    figures: dict[str, int | None]  # name → step
    parameters: dict[str, Any]


def tensorboard(run: Path) -> Found:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    everything = {"scalars": 0, "images": 0, "tensors": 0}
    found = EventAccumulator(str(run / "tensorboard"), everything, purge_orphaned_data=False).Reload()
    tags = found.Tags()
    points = [(tag, one.step, one.value) for tag in tags["scalars"] for one in found.Scalars(tag)]
    figures = {tag: found.Images(tag)[-1].step for tag in tags["images"]}
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
    return Found(points, figures, values)


def mlflow(run: Path) -> Found:
    from mlflow.tracking import MlflowClient

    client, key = MlflowClient(), json.loads((run / "tracking/mlflow.json").read_text())["key"]
    experiment = client.get_experiment_by_name("elboroom")
    (one,) = client.search_runs([experiment.experiment_id], f"tags.`elboroom.run` = '{key}'")
    assert one.info.status == "FINISHED"
    points = [
        (name, metric.step, metric.value)
        for name in one.data.metrics
        for metric in client.get_metric_history(one.info.run_id, name)
    ]
    figures = client.list_artifacts(one.info.run_id, "figures")
    return Found(points, {item.path.removesuffix(".png"): None for item in figures}, dict(one.data.params))


def trackio(run: Path) -> Found:
    from trackio.sqlite_storage import SQLiteStorage

    key = json.loads((run / "tracking/trackio.json").read_text())["key"]
    (name,) = [name for name in SQLiteStorage.get_runs("elboroom") if name.endswith(f"-{key}")]
    points, figures = [], {}
    for row in SQLiteStorage.get_logs("elboroom", name, max_points=None):
        step = row.pop("step")
        row.pop("timestamp")
        figures |= {column: step for column, value in row.items() if isinstance(value, dict)}
        points += [(column, step, value) for column, value in row.items() if not isinstance(value, dict)]
        if "epoch" in row:
            points.append(("step", step, step))
    config = SQLiteStorage.get_run_config("elboroom", name)
    return Found(points, figures, _flat(config))


def wandb(run: Path) -> Found:
    """Read the files of wandb, whose own process writes them, a little later than it says."""
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    for _ in range(600):
        if all(one[-1:] and one[-1].WhichOneof("record_type") == "exit" for one in map(_records, files[-1:])):
            break
        time.sleep(0.05)
    points: list[tuple[str, int, float]] = []
    figures: dict[str, int | None] = {}
    config: dict[str, Any] = {}
    for path in files:
        for record in _records(path):
            if record.WhichOneof("record_type") == "run":
                config = {one.key: json.loads(one.value_json) for one in record.run.config.update}
            if record.WhichOneof("record_type") != "history":
                continue
            step = record.history.step.num
            for item in record.history.item:
                names, value = list(item.nested_key), json.loads(item.value_json)
                if names[-1] == "_type" and value == "image-file":
                    figures[names[0]] = step
                elif len(names) == 1 and not names[0].startswith("_"):
                    points.append((names[0], step, value))
    return Found(points, figures, _flat(config))


def _records(path: Path) -> list[Any]:
    return list(_parsed(path.read_bytes()))


def _parsed(content: bytes) -> Iterator[Any]:
    """Records of a file of wandb: LevelDB's log format, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    position, record = 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(record)
            record = b""


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section, fields in config.items()
        if isinstance(fields, dict) and not section.startswith("_")
        for name, value in fields.items()
    }


READERS = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb, "trackio": trackio}
