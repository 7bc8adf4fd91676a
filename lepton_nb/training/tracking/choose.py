"""From the option `track` of `lnb.train` to trackers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lepton_nb.errors import TrainingError
from lepton_nb.training.tracking.apart import Apart
from lepton_nb.training.tracking.jsonl import JsonLines
from lepton_nb.training.tracking.mlflow import MlflowRun
from lepton_nb.training.tracking.tensorboard import EventFiles
from lepton_nb.training.tracking.tracker import Tracker

HISTORY_FILE = "history.jsonl"

_Make = Callable[[], Tracker]


def trackers(track: Any) -> list[Tracker]:
    """The trackers that `track` asks for, none for None; nothing is told to them yet.

    track: a folder for history.jsonl and TensorBoard event files; or a mapping of what is wanted, of "jsonl" (a
        file), "tensorboard" (a folder) and "mlflow" (a URI, None for MLflow's own setting); or a list of trackers.

    Raises TrainingError for a place that cannot be written to and a package that is not installed.
    """
    return [make() for make in _chosen(track)]


def check_track(track: Any) -> None:
    """Raise TrainingError for what `trackers` refuses, but for places that cannot be written to: nothing is made."""
    _chosen(track)


def _chosen(track: Any) -> list[_Make]:
    """What makes each tracker."""
    if track is None:
        return []
    if isinstance(track, str | os.PathLike):
        folder = _path("track", track)
        _require("tensorboard", "run: pip install 'lepton-nb[tracking]', or give track={'jsonl': 'history.jsonl'}")
        if folder.exists() and not folder.is_dir():
            raise TrainingError(
                f"track={str(track)!r} is a file; give a folder, or track={{'jsonl': {str(track)!r}}}", path=str(folder)
            )
        return [partial(JsonLines, folder / HISTORY_FILE), partial(EventFiles, folder)]
    if isinstance(track, Mapping):
        for name in track:
            if name not in _MAKERS:
                raise TrainingError.unknown("tracker", str(name), _MAKERS)
        return [_MAKERS[name](value) for name, value in track.items()]
    if isinstance(track, list | tuple) and all(isinstance(each, Tracker) for each in track):
        return [partial(_itself, each) for each in track]
    raise TrainingError(
        f"track is {track!r}; give a folder, a mapping such as {{'jsonl': 'history.jsonl', 'mlflow': None}}, or a list "
        "of trackers"
    )


def _itself(tracker: Tracker) -> Tracker:
    return tracker


def _jsonl(value: Any) -> _Make:
    return partial(JsonLines, _path("track['jsonl']", value))


def _tensorboard(value: Any) -> _Make:
    _require("tensorboard", "run: pip install 'lepton-nb[tracking]'")
    return partial(EventFiles, _path("track['tensorboard']", value))


def _mlflow(value: Any) -> _Make:
    if value is not None and (not isinstance(value, str) or not value):
        raise TrainingError(
            f"track['mlflow'] is {value!r}; give the URI of a server or store, or None for MLflow's own"
        )
    _require("mlflow", "run: pip install mlflow-skinny, or leave 'mlflow' out of track")
    return lambda: Apart(MlflowRun(value))


_MAKERS: dict[str, Callable[[Any], _Make]] = {"jsonl": _jsonl, "tensorboard": _tensorboard, "mlflow": _mlflow}


def _path(name: str, value: Any) -> Path:
    """Whole, so that it stays the same place when the notebook changes its folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise TrainingError(f"{name} is {value!r}; give a path", name=name)
    return Path(value).expanduser().absolute()


def _require(package: str, fix: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise TrainingError(f"track needs {package}, which is not installed; {fix}", package=package)
