"""A form made out of described fields: labelled inputs that give typed values, and tell what is wrong where it is."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lepton_nb.errors import LeptonError, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value that a form asks for.

    kind: int, float, str or bool. choices: pairs of what is shown and the value, to choose one, or several with
    `multiple`. optional: an empty input is None. minimum, maximum: both included. help: a sentence, as a tooltip.
    example: what an empty input shows, by default "default" where it is optional.
    """

    name: str
    label: str
    kind: type = str
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: Sequence[tuple[str, Any]] | None = None
    multiple: bool = False
    optional: bool = False
    help: str = ""
    example: str = ""

    def read(self, text: str) -> Any:
        """The value of an input's text. Raises ValueError with what is wanted."""
        words = text.strip()
        if not words:
            if self.optional:
                return None
            raise ValueError("is empty; give a value")
        if self.kind is str:
            return words
        try:
            value = self.kind(words.replace("_", "") if self.kind is int else words)
        except ValueError:
            wanted = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"must be {wanted}, not {words!r}") from None
        if self.minimum is not None and not value >= self.minimum:
            raise ValueError(f"must be {self.minimum:g} or more, not {words}")
        if self.maximum is not None and not value <= self.maximum:
            raise ValueError(f"must be {self.maximum:g} or less, not {words}")
        return value


class _Entry:
    """A field's input, and the line below it where a fault is told."""

    def __init__(self, field: Field) -> None:
        self.field = field
        style = {"description_width": "10.5rem"}
        layout = ipywidgets.Layout(width="auto", margin="2px 0")
        common = {"description": field.label, "tooltip": field.help or None, "style": style, "layout": layout}
        if field.choices is not None and field.multiple:
            layout.height = _height(field.choices)
            self.input: Any = ipywidgets.SelectMultiple(options=list(field.choices), **common)
        elif field.choices is not None:
            self.input = ipywidgets.Dropdown(options=list(field.choices), **common)
            # Where the first choice is None, ipywidgets chooses it or nothing, as the seed of Python's hashes has it.
            self.input.index = 0 if field.choices else None
        elif field.kind is bool:
            self.input = ipywidgets.Checkbox(indent=True, **common)
        else:
            self.input = ipywidgets.Text(placeholder=field.example or ("default" if field.optional else ""), **common)
        self.fault = ipywidgets.HTML(layout=ipywidgets.Layout(display="none", margin="0 0 4px 10.7rem"))
        self.view = ipywidgets.VBox([self.input, self.fault], layout=ipywidgets.Layout(overflow="hidden"))
        if field.default is not None or (field.optional and field.choices is None):
            self.set(field.default)

    def value(self) -> Any:
        """Raises ValueError with what is wanted."""
        if self.field.choices is not None:
            return tuple(self.input.value) if self.field.multiple else self.input.value
        return bool(self.input.value) if self.field.kind is bool else self.field.read(self.input.value)

    def set(self, value: Any) -> None:
        if self.field.choices is not None:
            known = [choice for _, choice in self.field.choices]
            chosen = tuple(value or ()) if self.field.multiple else (value,)
            for one in chosen:
                if one not in known:
                    raise LeptonError.unknown(self.field.label.lower(), str(one), map(str, known))
            if self.field.multiple:
                self.input.value = chosen
            else:
                # By its place: a value of None would be taken for no choice at all.
                self.input.index = known.index(value)
        elif self.field.kind is bool:
            self.input.value = bool(value)
        else:
            self.input.value = "" if value is None else str(value)

    def tell(self, fault: str) -> None:
        text = f'<span role="alert" class="lepton-fault">{html.escape(fault)}</span>' if fault else ""
        self.fault.value = text
        self.fault.layout.display = "" if fault else "none"


def _height(choices: Sequence[tuple[str, Any]]) -> str:
    """Of a list to choose several from."""
    return f"{1.2 * min(4, max(2, len(choices))) + 0.3:.1f}rem"


class Form:
    """Fields as inputs in a grid of so many columns; `view` is what is shown.

    on_change: called with the name of a field whose input was changed.
    """

    def __init__(
        self, fields: Iterable[Field], *, columns: int = 2, on_change: Callable[[str], None] | None = None
    ) -> None:
        self._entries = {field.name: _Entry(field) for field in fields}
        self.view = ipywidgets.GridBox(
            [entry.view for entry in self._entries.values()],
            layout=ipywidgets.Layout(
                grid_template_columns=f"repeat({columns}, minmax(15rem, 1fr))", grid_gap="0 1.5rem", width="100%"
            ),
        )
        self.view.add_class("lepton-form")
        for name, entry in self._entries.items():
            entry.input.observe(lambda _, name=name, entry=entry: self._changed(name, entry, on_change), "value")

    def _changed(self, name: str, entry: _Entry, on_change: Callable[[str], None] | None) -> None:
        entry.tell("")
        if on_change is not None:
            on_change(name)

    @property
    def fields(self) -> tuple[Field, ...]:
        """What the form asks for."""
        return tuple(entry.field for entry in self._entries.values())

    @property
    def by_name(self) -> dict[str, Field]:
        """What the form asks for, by the names of the fields."""
        return {name: entry.field for name, entry in self._entries.items()}

    def value(self, name: str) -> Any:
        """The typed value of one field. Raises LeptonError where there is none, and marks nothing."""
        entry = self._entry(name)
        try:
            return entry.value()
        except ValueError as error:
            raise LeptonError(f"{entry.field.label} {error}", fields=(name,)) from None

    def values(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The typed value of each field by its name. Raises LeptonError that names and marks those at fault.

        names: the fields to read, such as those that are shown; all if left out.
        """
        found, faults = {}, {}
        for name in self._entries if names is None else names:
            try:
                found[name] = self._entry(name).value()
            except ValueError as error:
                faults[name] = str(error)
        self.mark(faults)
        if faults:
            said = "; ".join(f"{self._entries[name].field.label} {fault}" for name, fault in faults.items())
            raise LeptonError(said, fields=tuple(faults))
        return found

    def mark(self, faults: Mapping[str, str]) -> None:
        """Tell faults below the inputs that they are of, by the names of the fields, and clear all others."""
        for name, entry in self._entries.items():
            entry.tell(faults.get(name, ""))

    def set(self, **values: Any) -> None:
        """Show other values. Raises LeptonError for a name that the form has not."""
        for name, value in values.items():
            self._entry(name).set(value)

    def choose(self, name: str, choices: Sequence[tuple[str, Any]]) -> None:
        """Give a field other choices; what was chosen stays chosen where it is still there, else the first one is."""
        entry = self._entry(name)
        entry.field = Field(**{key: getattr(entry.field, key) for key in Field.__slots__} | {"choices": choices})
        kept, values = entry.input.value, [value for _, value in choices]
        entry.input.options = list(choices)
        if entry.field.multiple:
            entry.input.layout.height = _height(choices)
            entry.input.value = tuple(value for value in kept if value in values)
        elif values:
            entry.set(kept if kept in values else values[0])

    def show_only(self, names: Iterable[str]) -> None:
        """Hide all fields but these."""
        shown = set(names)
        for name, entry in self._entries.items():
            entry.view.layout.display = "" if name in shown else "none"

    @property
    def disabled(self) -> bool:
        """True where nothing can be changed."""
        return all(entry.input.disabled for entry in self._entries.values())

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        for entry in self._entries.values():
            entry.input.disabled = disabled

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise LeptonError(f"the form has no field {name!r}{hint(name, self._entries)}")
        return self._entries[name]
