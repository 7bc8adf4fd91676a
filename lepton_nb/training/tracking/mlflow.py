"""The history of a run in MLflow, through the part of its client that is the same from MLflow 1 to 3."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lepton_nb.training.tracking.scalars import Kind
from lepton_nb.training.tracking.written import Written

# What one call of MLflow takes, and the least that one of its versions takes of a parameter's text.
METRICS_AT_ONCE = 1_000
PARAMS_AT_ONCE = 100
PARAM_CHARS = 250
TAG_CHARS = 5_000
EXPERIMENT = "lepton_nb"
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowRun:
    """A run of MLflow's: the options as its parameters, the figures as its metrics, the end as its tags.

    uri: the tracking server or store; None takes MLflow's own setting (MLFLOW_TRACKING_URI). The experiment is that
    of MLFLOW_EXPERIMENT_NAME, or "lepton_nb". A run that goes on with another is a run of its own in MLflow, with the
    tag lepton_nb.resumed, and holds the history from the first step on. Each call waits for the server.
    """

    def __init__(self, uri: str | None, clock: Callable[[], float] = time.time) -> None:
        self.where = f"MLflow at {uri}" if uri else "MLflow"
        self.run_id: str | None = None
        self._uri = uri
        self._clock = clock
        self._client: Any = None
        self._written = Written()
        self._facts: Mapping[str, Any] = {}
        self._params: list[Any] = []
        self._metrics: list[Any] = []

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Make the run in MLflow; with a later call where the server does not answer now."""
        from mlflow.entities import Param

        self._facts = dict(facts)
        options = facts.get("options", {})
        self._params = [Param(str(name), str(value)[:PARAM_CHARS]) for name, value in options.items()]
        self._send()

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The figures of the rows."""
        for row in rows:
            self._note("step", row)
        self._send()

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The figures of the row."""
        self._note("epoch", row)
        self._send()

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """End the run in MLflow: FINISHED, KILLED for one that was stopped, or FAILED; `facts` are tags."""
        self._send()
        for name, value in facts.items():
            self._client.set_tag(self.run_id, f"lepton_nb.{name}", str(value)[:TAG_CHARS])
        self._client.set_terminated(self.run_id, status=_STATUS[status])

    def _note(self, kind: Kind, row: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        now_ms = int(self._clock() * 1000)
        for news in self._written.take(kind, row):
            self._metrics += [Metric(tag, value, now_ms, news.step) for tag, value in news.figures.items()]

    def _send(self) -> None:
        """All that MLflow does not have yet; what it did not take stays for the next call."""
        self._open()
        while self._params:
            self._client.log_batch(self.run_id, params=self._params[:PARAMS_AT_ONCE])
            del self._params[:PARAMS_AT_ONCE]
        while self._metrics:
            self._client.log_batch(self.run_id, metrics=self._metrics[:METRICS_AT_ONCE])
            del self._metrics[:METRICS_AT_ONCE]

    def _open(self) -> None:
        if self.run_id is not None:
            return
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        tags = {"mlflow.runName": str(self._facts.get("name", "")), "mlflow.source.name": "lepton_nb"}
        if self._facts.get("resumed"):
            tags["lepton_nb.resumed"] = "true"
        self.run_id = self._client.create_run(experiment, tags=tags).info.run_id
