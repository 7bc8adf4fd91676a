"""Notifications: a command, a webhook or an e-mail that says that a scheduled report failed, or works again."""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from lepton_nb.errors import ReportError
from lepton_nb.reports.definition import REFERENCES, Definition, Email, Notification

TIMEOUT_S = 30.0
TOLD_CHARACTERS = 2000


def message(definition: Definition, event: str, slot: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is told, as plain JSON values; the error is cut to 2,000 characters."""
    error = facts.get("error")
    return {
        "event": event,
        "definition": definition.name,
        "slot": slot,
        "attempt": facts.get("attempt"),
        "report": facts.get("report") or None,
        "error": None if error is None else str(error)[:TOLD_CHARACTERS],
    }


def deliver(notifications: Sequence[Notification], told: Mapping[str, Any]) -> list[str]:
    """Tell everybody who wants to know of this event; returns what went wrong, without any secret."""
    problems = []
    for one in notifications:
        if told["event"] not in one.on:
            continue
        try:
            if one.command:
                _command(one.command, told)
            elif one.webhook:
                _webhook(one.webhook, told)
            elif one.email is not None:
                _email(one.email, told)
        except ReportError as error:
            problems.append(str(error))
    return problems


def resolve(reference: str) -> str:
    """The value that env:NAME or file:PATH stands for; any other text is its own value.

    Raises ReportError, which names the reference, where there is none.
    """
    if not reference.startswith(REFERENCES):
        return reference
    kind, _, name = reference.partition(":")
    try:
        value = os.environ[name] if kind == "env" else Path(name).expanduser().read_text(encoding="utf-8").strip()
    except KeyError:
        raise ReportError(f"{reference}: the environment variable is not set; set it for the scheduler") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{reference}: cannot be read ({type(error).__name__}); check the path") from None
    if not value:
        raise ReportError(f"{reference}: is empty; give it a value")
    return value


def _command(command: Sequence[str], told: Mapping[str, Any]) -> None:
    # Facts come as data, on standard input and as variables: nothing of them is part of the command.
    facts = {f"LEPTON_NB_{name.upper()}": _plain(value) for name, value in told.items()}
    try:
        done = subprocess.run(
            list(command),
            input=json.dumps(told),
            text=True,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=os.environ | facts,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReportError(f"the command {command[0]} took longer than {TIMEOUT_S:g} s, and was ended") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"the command {command[0]} could not be started: {error}; check its path") from None
    if done.returncode:
        raise ReportError(f"the command {command[0]} ended with status {done.returncode}: {done.stderr.strip()[-200:]}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The facts go where the definition says, and nowhere else."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


def _webhook(address: str, told: Mapping[str, Any]) -> None:
    url = resolve(address)
    # An address may hold a key, and so may an error of the library that quotes it.
    shown = address if address.startswith(REFERENCES) else "/".join(url.split("/")[:3])
    if not url.startswith(("https://", "http://")):
        raise ReportError(f"the webhook {shown} is no address; it begins with https://")
    try:
        request = urllib.request.Request(  # noqa: S310 - seen to above
            url, data=json.dumps(told).encode(), headers={"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise ReportError(f"the webhook {shown} answered {error.code}; check the address") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"the webhook {shown} cannot be reached ({type(error).__name__}); check it") from None


def _email(email: Email, told: Mapping[str, Any]) -> None:
    letter = EmailMessage()
    verb = "failed" if told["event"] == "failure" else "works again"
    try:
        letter["Subject"] = f"Report {told['definition']} {verb}"
        letter["From"], letter["To"] = email.sender, ", ".join(email.to)
        letter.set_content("".join(f"{name}: {_plain(value)}\n" for name, value in told.items()))
        context = ssl.create_default_context()
        if email.encryption == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(email.host, email.port, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(email.host, email.port, timeout=TIMEOUT_S)
        with server:
            if email.encryption == "starttls":
                server.starttls(context=context)
            if email.user:
                server.login(email.user, resolve(email.password))
            server.send_message(letter)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise ReportError(
            f"no e-mail could be sent by {email.host}:{email.port} ({type(error).__name__}); check host, port, "
            "encryption and password"
        ) from None


def _plain(value: Any) -> str:
    return "" if value is None else str(value).replace("\0", "")
