"""The form of a training: which rows, which model, and the options, all read off the model layer."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lepton_nb.data.prepare import prepare
from lepton_nb.errors import LeptonError
from lepton_nb.training import options
from lepton_nb.training.choices import Offer, look
from lepton_nb.training.options import MODELS, Option
from lepton_nb.training.spec import CLASS_METRICS, NUMBER_METRICS
from lepton_nb.widgets.form import Field, Form
from lepton_nb.widgets.labels import in_labels

# Those that most trainings set come first; the others are behind a button.
FIRST = ("workers", "epochs", "batch_size", "learning_rate", "optimizer", "metrics")
# Chosen with the rows and with the model.
ELSEWHERE = ("target", "framework")

_DATA = {
    "table": ("target", "features", "prepared"),
    "parts": (),
    "prepared": ("validation_rows", "test_rows"),
    "arrays": ("validation_rows", "test_rows"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the form says: the name of the data, arguments of `choices.parts`, the model, options of the training."""

    data: str
    parts: dict[str, Any]
    kind: str
    model: dict[str, Any]
    training: dict[str, Any]


def field_of(option: Option) -> Field:
    """The field that asks for an option."""
    common: dict[str, Any] = {"name": option.name, "label": option.label, "help": option.help}
    common |= {"default": option.written(option.default), "optional": option.optional}
    common |= {"example": "none"} if option.optional else {}
    kinds = {"whole": int, "number": float, "flag": bool}
    if option.kind in ("choice", "choices"):
        shown = tuple((_shown(value), value) for value in option.choices)
        return Field(**common, choices=shown, multiple=option.kind == "choices")
    return Field(**common, kind=kinds.get(option.kind, str))


def _shown(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}.get(value, str(value))


class TrainingForm:
    """Inputs for data, model and options; `values` gives what they say, `set` shows other values by their names.

    data: gives the rows that can be chosen, by name. target_chosen: called with data and target when either changes.
    """

    def __init__(
        self, data: Callable[[], Mapping[str, Any]], target_chosen: Callable[[Any, str | None], None] | None = None
    ) -> None:
        self._data, self._target_chosen = data, target_chosen
        self._names: tuple[str, ...] = ()
        self._offers: dict[str, Offer] = {}
        # For which data and target the task was asked for last.
        self._told: tuple[str, str | None] | None = None
        self._lock = threading.RLock()
        shares = {name: inspect.signature(prepare).parameters[name].default for name in ("validation", "test")}
        self._rows = Form(
            [
                Field(name="data", label="Data", choices=(), help="The rows to learn from"),
                Field(name="target", label="Target", choices=(), help="The column to learn"),
                Field(
                    name="prepared", label="Clean and split", kind=bool, default=True,
                    help="Fill gaps, standardise, and split into rows to train, to validate and to test",
                ),
                Field(name="time", label="Split by time", choices=(("no", None),), help="Test on the newest rows"),
                Field(
                    name="validation", label="Validation share", kind=float, default=shares["validation"], minimum=0,
                    maximum=1, help="Share of the rows on which the loss is measured after each epoch",
                ),
                Field(
                    name="test", label="Test share", kind=float, default=shares["test"], minimum=0, maximum=1,
                    help="Share of the rows on which the trained model is evaluated",
                ),
                Field(
                    name="features", label="Features (none: all)", choices=(), multiple=True, default=(),
                    help="The columns to learn from, none for all; give only what is known when the prediction is made",
                ),
                Field(name="validation_rows", label="Validation data", choices=(("none", None),)),
                Field(name="test_rows", label="Test data", choices=(("none", None),)),
            ],
            on_change=self._changed,
        )  # fmt: skip
        kinds = Field(
            name="kind", label="Model", choices=[(kind, kind) for kind in MODELS], default="mlp",
            help="mlp for tables, cnn for images, rnn and transformer for sequences",
        )  # fmt: skip
        self._kind = Form([kinds], on_change=lambda _: self._show_model())
        self._options = {kind: {one.name: one for one in options.of_model(kind)} for kind in MODELS}
        self._models = {
            kind: Form(map(field_of, found.values()), on_change=lambda name: self._show_task(name))
            for kind, found in self._options.items()
        }
        training = {one.name: one for one in options.of_training() if one.name not in ELSEWHERE}
        self._training = training
        self._first = Form(field_of(training[name]) for name in FIRST)
        self._further = Form(field_of(one) for name, one in training.items() if name not in FIRST)
        self._more = ipywidgets.ToggleButton(
            description="More options", tooltip="Show all options of a training", value=False
        )
        self._more.layout.width = "auto"
        self._more.observe(lambda _: self._show_more(), "value")
        self._empty = ipywidgets.HTML(
            "<p>There is no data to choose. Give some to the panel: <code>TrainingPanel(data={'flights': flights})"
            "</code>, or make a table in a cell of this notebook.</p>"
        )
        self.view = ipywidgets.VBox(
            [
                _heading("Data"), self._empty, self._rows.view,
                _heading("Model"), self._kind.view, *(form.view for form in self._models.values()),
                _heading("Training"), self._first.view, ipywidgets.HBox([self._more]), self._further.view,
            ]
        )  # fmt: skip
        self._show_model()
        self._show_more()

    def renew(self) -> None:
        """Offer the data that there is now."""
        with self._lock:
            names = tuple(self._data())
            self._empty.layout.display = "none" if names else ""
            if names == self._names and names:
                return
            self._names, self._offers = names, {}
            pairs = [(name, name) for name in names]
            for field in ("validation_rows", "test_rows"):
                self._rows.choose(field, [("none", None), *pairs])
            self._rows.choose("data", pairs)
            self._show_data()

    def values(self) -> Wish:
        """What is chosen. Raises LeptonError that names each field at fault, and marks it."""
        rows = self._rows.values()
        kind = self._kind.value("kind")
        if rows["data"] is None:
            raise LeptonError("there is no data to train on; give some: TrainingPanel(data={'name': table})")
        offer = self._offer(rows["data"])
        whole = offer.kind == "table" and rows["prepared"]
        parts: dict[str, Any] = {}
        if offer.kind == "table":
            parts = {name: rows[name] for name in ("target", "features", "prepared")}
        if whole:
            parts |= {name: rows[name] for name in ("time", "validation", "test")}
        elif offer.kind != "parts":
            data = self._data()
            for name in ("validation", "test"):
                chosen = rows[f"{name}_rows"]
                parts[name] = None if chosen is None else _named(data, chosen)
        training = self._read(self._training, self._first) | self._read(self._training, self._further)
        model = self._read(self._options[kind], self._models[kind])
        # A number of classes that is not asked for is left over from another target.
        model |= {} if model["task"] == "multiclass" else {"classes": None}
        return Wish(rows["data"], parts, kind, model, training)

    def set(self, **values: Any) -> None:
        """Show other values, by the names of the fields: data, target, kind, and all options of model and training."""
        # What is chosen decides which fields there are, and what they offer.
        order = ("data", "target", "features", "prepared", "kind")
        for name in sorted(values, key=lambda name: order.index(name) if name in order else len(order)):
            value = values[name]
            if name in self._training:
                value = self._training[name].written(value)
            form, _ = self._find(name)
            form.set(**{name: _typed(value)})

    def _find(self, name: str) -> tuple[Form, Field]:
        found = {field.name: (form, field) for form in self._shown_forms for field in form.fields}
        if name not in found:
            raise LeptonError.unknown("field", name, found)
        return found[name]

    @property
    def fields(self) -> dict[str, Field]:
        """What the form asks for now, by the names that `lnb.train`, `lnb.prepare` and the model have for it."""
        return {name: field for form in self._shown_forms for name, field in form.by_name.items()}

    @property
    def _shown_forms(self) -> tuple[Form, ...]:
        return (self._rows, self._kind, self._models[self._kind.value("kind")], self._first, self._further)

    def suggest(self, task: str, classes: int | None) -> None:
        """Choose a task for every kind of model."""
        for form in self._models.values():
            form.set(task=task, classes=classes)

    def tell(self, error: LeptonError) -> None:
        """Mark the field that an error names, if it names one."""
        with contextlib.suppress(LeptonError):
            form, field = self._find(str(error.facts.get("name")))
            form.mark({field.name: in_labels(error.message, self.fields)})
            if form is self._further:
                self._more.value = True

    def _read(self, known: Mapping[str, Option], form: Form) -> dict[str, Any]:
        found, faults = {}, {}
        for name, value in form.values().items():
            try:
                found[name] = known[name].read(value)
            except LeptonError as error:
                faults[name] = error.message
        if faults:
            faults = {name: in_labels(fault, self.fields) for name, fault in faults.items()}
            form.mark(faults)
            raise LeptonError("; ".join(faults.values()), fields=tuple(faults))
        return found

    def _offer(self, name: str) -> Offer:
        if name not in self._offers:
            self._offers[name] = look(_named(self._data(), name))
        return self._offers[name]

    def _changed(self, name: str) -> None:
        if name == "data":
            self._show_data()
        elif name == "target":
            self._show_target()
        elif name == "prepared":
            self._show_fields()

    def _show_data(self) -> None:
        name = self._rows.value("data")
        if name is None:
            self._rows.show_only(())
            return
        offer = self._offer(name)
        targets = offer.targets if offer.kind == "table" else ()
        self._rows.choose("time", [("no", None), *((column, column) for column in offer.times)])
        self._rows.choose("target", [(column, column) for column in targets])
        self._show_fields()
        self._show_target()

    def _show_target(self) -> None:
        name, target = (self._rows.value(field) for field in ("data", "target"))
        if name is None:
            return
        self._rows.choose("features", [(column, column) for column in self._offer(name).features(target)])
        if self._target_chosen is not None and self._told != (name, target):
            self._told = (name, target)
            self._target_chosen(_named(self._data(), name), target)

    def _show_fields(self) -> None:
        name = self._rows.value("data")
        if name is None:
            return
        kind = self._offer(name).kind
        split = ("time", "validation", "test") if self._rows.value("prepared") else ("validation_rows", "test_rows")
        self._rows.show_only(("data", *_DATA[kind], *(split if kind == "table" else ())))

    def _show_model(self) -> None:
        kind = self._kind.value("kind")
        for name, form in self._models.items():
            form.view.layout.display = "" if name == kind else "none"
        self._show_task("task")

    def _show_task(self, changed: str) -> None:
        """Offer what goes with the task: the number of classes, and its metrics."""
        if changed != "task":
            return
        kind = self._kind.value("kind")
        task = self._models[kind].value("task")
        self._models[kind].show_only(name for name in self._options[kind] if name != "classes" or task == "multiclass")
        metrics = NUMBER_METRICS if task == "regression" else CLASS_METRICS
        self._first.choose("metrics", [(name, name) for name in metrics])

    def _show_more(self) -> None:
        self._further.view.layout.display = "" if self._more.value else "none"
        self._more.description = "Fewer options" if self._more.value else "More options"


def _heading(words: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f'<h3 class="lepton-heading">{words}</h3>')


def _named(data: Mapping[str, Any], name: str) -> Any:
    if name not in data:
        raise LeptonError.unknown("data", name, data)
    return data[name]


def _typed(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) and not _are_words(value) else value


def _are_words(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
