"""Definitions of reports: YAML files that say what is run, when, and who is told how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError, hint
from lepton_nb.reports.definition_file import Document, read
from lepton_nb.reports.formats import FORMATS
from lepton_nb.reports.schedule_times import Cron

EVENTS = ("failure", "recovery")
MISSED = ("once", "all", "skip")
ENCRYPTIONS = ("starttls", "tls", "none")
KEYS = ("notebook", "parameters", "schedule", "retries", "timeout_s", "outputs", "notifications")
REFERENCES = ("env:", "file:")
# The most missed slots that are ever made up for, whatever a definition says.
MOST_MISSED = 1000
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When it runs; `missed` says what happens with slots at which no scheduler ran, `missed_limit` bounds "all"."""

    cron: Cron
    missed: str = "once"
    missed_limit: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a failed run is tried again, first after `wait_s`, then each time after `factor` times as long."""

    count: int = 0
    wait_s: float = 60.0
    factor: float = 2.0
    longest_s: float = 3600.0

    def wait_before(self, tries: int) -> float:
        """Seconds to wait once `tries` runs have failed."""
        return float(min(self.longest_s, self.wait_s * self.factor ** min(tries - 1, 100)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where reports go, each in a folder of its own there, and what is in them."""

    folder: Path
    formats: tuple[str, ...] = ("html", "notebook")
    show_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """A letter; `password` is a reference."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    encryption: str
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Who is told of which events: a command, a webhook (an address or a reference), or by e-mail."""

    on: tuple[str, ...]
    command: tuple[str, ...] = ()
    webhook: str = ""
    email: Email | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A report that can be made again and again; `name` is the file's, without its ending."""

    name: str
    path: Path
    notebook: Path
    parameters: Mapping[str, Any]
    schedule: Schedule | None
    outputs: Outputs
    retries: Retries = field(default_factory=Retries)
    timeout_s: float | None = None
    notifications: tuple[Notification, ...] = ()


def load_all(folder: Path) -> list[Definition]:
    """The definitions in `folder`, by name, or that in one file.

    Raises one ReportError with the problems of all files.
    """
    if folder.is_file():
        return [load(folder)]
    paths = sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")})
    if not paths:
        raise ReportError(f"there are no definitions (*.yaml) in {folder}; give another folder", path=str(folder))
    found: dict[str, Definition] = {}
    problems = []
    for path in paths:
        try:
            one = load(path)
        except ReportError as error:
            problems.append(str(error))
            continue
        if one.name in found:
            problems.append(f"{path}:1: {found[one.name].path.name} has the same name; rename one of the two")
        found[one.name] = one
    if problems:
        raise ReportError("\n".join(problems), problems=tuple(problems))
    return list(found.values())


def load(path: Path) -> Definition:
    """The definition in the file `path`; what is relative in it is relative to its folder.

    Raises one ReportError for all that is wrong, each with file, line and key, also as `problems`. The parameters are
    checked against those of the notebook.
    """
    path = path.expanduser().absolute()
    document = read(path)
    top = document.table(document.value, (), KEYS, needed=("notebook",))
    notebook = path.parent / Path(document.text(top.get("notebook"), ("notebook",), ".")).expanduser()
    parameters = top.get("parameters") or {}
    if top.get("notebook") is not None:
        _check_parameters(document, notebook, parameters)
    timeout_s = top.get("timeout_s")
    definition = Definition(
        name=path.stem,
        path=path,
        notebook=notebook,
        parameters=parameters if isinstance(parameters, dict) else {},
        schedule=_schedule(document, top.get("schedule")),
        outputs=_outputs(document, top.get("outputs"), path),
        retries=_retries(document, top.get("retries")),
        timeout_s=None if timeout_s is None else document.number(timeout_s, ("timeout_s",), 1, 1, 30 * DAY_S),
        notifications=_notifications(document, top.get("notifications")),
    )
    document.fail_if_any()
    return definition


def _check_parameters(document: Document, notebook: Path, parameters: Any) -> None:
    from lepton_nb.reports import parameters as known
    from lepton_nb.reports.run import load as load_notebook

    try:
        declared = known.read(load_notebook(notebook))
    except ReportError as error:
        document.problem(("notebook",), str(error))
        return
    if not isinstance(parameters, dict):
        document.problem(("parameters",), "give names and values")
        return
    names = [one.name for one in declared or ()]
    for name, value in parameters.items():
        if name not in names:
            text = f"unknown parameter{hint(str(name), names)}; known: {', '.join(names) or 'none'}"
            document.problem(("parameters", name), text)
            continue
        one = next(one for one in declared or () if one.name == name)
        try:
            known.check((one,), {name: value})
        except ReportError as error:
            document.problem(("parameters", name), error.problems[0].removeprefix(f"parameter {name!r} "))
    for one in declared or ():
        if one.required and one.name not in parameters:
            document.problem(("parameters",), f"parameter {one.name!r} has no default; give it a value")


def _schedule(document: Document, value: Any) -> Schedule | None:
    if value is None:
        return None
    place = ("schedule",)
    table = document.table(value, place, ("cron", "time_zone", "missed", "missed_limit"), needed=("cron",))
    zone = document.text(table.get("time_zone"), (*place, "time_zone"), "UTC")
    cron = None
    for key, arguments in (("time_zone", ("@daily", zone)), ("cron", (table.get("cron"), "UTC"))):
        if not isinstance(arguments[0], str):
            if arguments[0] is not None:
                document.problem((*place, key), f'give a text in quotes, such as "30 2 * * *", not {arguments[0]!r}')
            continue
        try:
            cron = Cron(*arguments)
        except ReportError as error:
            document.problem((*place, key), str(error))
    missed = document.choice(table.get("missed"), (*place, "missed"), "once", MISSED)
    limit = document.count(table.get("missed_limit"), (*place, "missed_limit"), 24, MOST_MISSED)
    if cron is None or document.problems:
        return None
    return Schedule(cron=Cron(table["cron"], zone), missed=missed, missed_limit=limit)


def _retries(document: Document, value: Any) -> Retries:
    place = ("retries",)
    table = document.table(value, place, ("count", "wait_s", "factor", "longest_s"))
    return Retries(
        count=document.count(table.get("count"), (*place, "count"), 0, 100),
        wait_s=document.number(table.get("wait_s"), (*place, "wait_s"), 60.0, 0, DAY_S),
        factor=document.number(table.get("factor"), (*place, "factor"), 2.0, 1, 100),
        longest_s=document.number(table.get("longest_s"), (*place, "longest_s"), 3600.0, 0, 7 * DAY_S),
    )


def _outputs(document: Document, value: Any, path: Path) -> Outputs:
    place = ("outputs",)
    table = document.table(value, place, ("folder", "formats", "show_code"))
    folder = document.text(table.get("folder"), (*place, "folder"), f"out/{path.stem}")
    formats = document.texts(table.get("formats"), (*place, "formats"))
    for index, one in enumerate(formats):
        document.choice(one, (*place, "formats", index), "", FORMATS)
    show_code = document.flag(table.get("show_code"), (*place, "show_code"), False)
    return Outputs(
        folder=path.parent / Path(folder).expanduser(), formats=formats or ("html", "notebook"), show_code=show_code
    )


def _notifications(document: Document, value: Any) -> tuple[Notification, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        document.problem(("notifications",), 'give a list, each entry after a "-"')
        return ()
    return tuple(_notification(document, one, ("notifications", index)) for index, one in enumerate(value))


def _notification(document: Document, value: Any, place: tuple[Any, ...]) -> Notification:
    ways = ("command", "webhook", "email")
    table = document.table(value, place, ("on", *ways), needed=("on",))
    events = document.texts(table.get("on"), (*place, "on"))
    for index, event in enumerate(events):
        document.choice(event, (*place, "on", index), "", EVENTS)
    if sum(table.get(way) is not None for way in ways) != 1:
        document.problem(place, f"give one of {', '.join(ways)}; for more than one, write an entry for each")
    command = table.get("command")
    if isinstance(command, str):
        document.problem((*place, "command"), "give a list of the program and its arguments: no shell reads it")
        command = None
    webhook = document.text(table.get("webhook"), (*place, "webhook"))
    if webhook and not webhook.startswith(("https://", "http://", *REFERENCES)):
        document.problem((*place, "webhook"), "give an address that begins with https://, or env:NAME or file:PATH")
    if webhook.startswith("http") and "@" in webhook.split("/")[2]:
        document.problem((*place, "webhook"), "has a password in it; put the address into a variable: env:NAME")
    email = table.get("email")
    return Notification(
        on=events,
        command=document.texts(command, (*place, "command")),
        webhook=webhook,
        email=None if email is None else _email(document, email, (*place, "email")),
    )


def _email(document: Document, value: Any, place: tuple[Any, ...]) -> Email:
    keys = ("to", "from", "host", "port", "encryption", "user", "password")
    table = document.table(value, place, keys, needed=("to", "from", "host"))
    encryption = document.choice(table.get("encryption"), (*place, "encryption"), "starttls", ENCRYPTIONS)
    password = document.text(table.get("password"), (*place, "password"))
    if password and not password.startswith(REFERENCES):
        document.problem((*place, "password"), "a password does not belong in a file: give env:NAME or file:PATH")
    if bool(password) != bool(table.get("user")):
        document.problem(place, "give both user and password, or none of them")
    if password and encryption == "none":
        document.problem((*place, "encryption"), "a password would be sent for all to read; give starttls or tls")
    port = {"starttls": 587, "tls": 465, "none": 25}[encryption]
    return Email(
        to=document.texts(table.get("to"), (*place, "to")),
        sender=document.text(table.get("from"), (*place, "from")),
        host=document.text(table.get("host"), (*place, "host")),
        port=document.count(table.get("port"), (*place, "port"), port, 65535),
        encryption=encryption,
        user=document.text(table.get("user"), (*place, "user")),
        password=password,
    )
