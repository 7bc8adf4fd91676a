"""A run's history as trackers are told it, and what they made of it."""

import json
import threading

FACTS = {"name": "training-1", "options": {"learning_rate": 0.01, "optimizer": "adam"}, "resumed": False}
RESUMED = {**FACTS, "name": "training-2", "resumed": True}


def step(number, loss=None, rate=0.01, elapsed_s=0.0):
    loss = 1 / number if loss is None else loss
    return {
        "step": number, "epoch": 1, "loss": loss, "gradient_norm": 2.0, "learning_rate": rate, "elapsed_s": elapsed_s,
    }  # fmt: skip


def epoch(number, at, **figures):
    return {"epoch": number, "step": at, "loss": 1 / number, "rows_per_s": 100.0, "elapsed_s": 1.0, **figures}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds(path):
    return [(line["kind"], line.get("step")) for line in lines(path)]


def shown(folder):
    """What TensorBoard finds in a folder: its scalars, {tag: [(step, value)]}, and texts."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    numbers, texts = {}, {}
    for tag in found.Tags()["tensors"]:
        events = [(event.step, event.tensor_proto) for event in found.Tensors(tag)]
        if found.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            numbers[tag] = [(at, tensor.float_val[0]) for at, tensor in events]
        else:
            texts[tag] = [(at, tensor.string_val[0].decode()) for at, tensor in events]
    return numbers, texts


def tell(tracker, facts, steps=(), epochs=(), status="finished", said=None):
    tracker.begin(facts)
    for row in steps:
        tracker.steps([row])
    for row in epochs:
        tracker.epoch(row)
    if status is not None:
        tracker.end(status, said or {})


class Noting:
    """Keeps what it is told, once it is let; raises while it has trouble."""

    where = "notes"

    def __init__(self):
        self.calls = []
        self.may = threading.Event()
        self.may.set()
        self.trouble = None

    def _note(self, *call):
        assert self.may.wait(60)
        if self.trouble is not None:
            raise self.trouble
        self.calls.append(call)

    def begin(self, facts):
        self._note("begin")

    def steps(self, rows):
        self._note("steps", [row["step"] for row in rows])

    def epoch(self, row):
        self._note("epoch", row["epoch"])

    def end(self, status, facts):
        self._note("end", status)
