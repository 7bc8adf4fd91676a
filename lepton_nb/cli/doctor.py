"""`lepton-nb doctor`: what this machine has, what would be used, and what is missing."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from lepton_nb._version import __version__
from lepton_nb.cli.output import say
from lepton_nb.errors import LeptonError

# These are no parts of their own: one is everything, one is for people who work on lepton_nb.
_NOT_PARTS = ("all", "dev")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def doctor(*, as_json: bool) -> int:
    """Print what was found; the status is 0 also when parts are missing: they are optional."""
    found = examine()
    if as_json:
        say(json.dumps(found, indent=2))
    else:
        for line in describe(found):
            say(line)
    return 0


def examine() -> dict[str, Any]:
    """What this machine has, as plain values."""
    from lepton_nb.reports import browser

    chromium = browser.find()
    return {
        "lepton_nb": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        **_cluster(),
        "parts": parts(),
        "browser": str(chromium) if chromium else None,
    }


def describe(found: dict[str, Any]) -> list[str]:
    """Lines for a person, of what `examine` returned."""
    rows = [
        ("lepton_nb", found["lepton_nb"]),
        ("Python", f"{found['python']['version']}, {found['python']['executable']}"),
        ("System", found["platform"]),
        *[("Hardware" if index == 0 else "", line) for index, line in enumerate(found["hardware"])],
        ("Disk", f"{found['disk_free_bytes'] / 1e9:.1f} GB free here"),
        ("Cluster", found["cluster"]),
        ("Browser", found["browser"] or f"none; only tests need one: {browser_command()}"),
    ]
    lines = [f"{label:<10} {text}" for label, text in rows]
    lines += ["", "Parts"]
    for name, part in found["parts"].items():
        versions = ", ".join(f"{package} {version}" for package, version in part["installed"].items())
        missing = f"missing {', '.join(part['missing'])}; install: {part['install']}" if part["missing"] else ""
        lines.append(f"  {name:<11} {missing or versions}")
    return lines


def browser_command() -> str:
    """The command that installs a browser on this machine."""
    return "apt-get install chromium" if shutil.which("apt-get") else "playwright install chromium"


def parts() -> dict[str, dict[str, Any]]:
    """The extras of lepton-nb: which of their packages are installed, which are not, and the command for these."""
    wanted: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("lepton-nb") or []:
        extra = _EXTRA.search(requirement)
        match = _REQUIREMENT.match(requirement)
        if extra and match and extra[1] not in _NOT_PARTS and _applies(requirement):
            # An extra that brings another, "lepton-nb[figures]", is shown by its own packages alone.
            names = [] if match[1].lower().replace("_", "-") == "lepton-nb" else [match[1]]
            wanted.setdefault(extra[1], []).extend(names)
    return {extra: _part(extra, packages) for extra, packages in wanted.items()}


def _part(extra: str, packages: list[str]) -> dict[str, Any]:
    installed = {}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "installed": installed,
        "missing": [package for package in packages if package not in installed],
        "install": f'pip install "lepton-nb[{extra}]"',
    }


def _applies(requirement: str) -> bool:
    """Whether a requirement counts on this system; the one such condition we use is sys_platform == '...'."""
    match = re.search(r"""sys_platform\s*==\s*["']([^"']+)["']""", requirement)
    return match is None or match[1] == sys.platform


def _cluster() -> dict[str, Any]:
    """What a cluster would use, found by the very code that a cluster starts with."""
    try:
        from lepton_nb.cluster.choose import choose, cuda_missing
        from lepton_nb.cluster.probe import hardware
        from lepton_nb.cluster.session import Cluster
        from lepton_nb.cluster.spec import ClusterSpec

        machine = hardware()
    except ImportError as error:
        return {"hardware": ["not known"], "cluster": f'needs {error.name}: pip install "lepton-nb[cluster]"'}
    try:
        options = inspect.signature(Cluster).parameters.values()
        spec = ClusterSpec.parse(**{option.name: option.default for option in options})
        choice = choose(spec, machine, cuda_missing() if machine.gpus else None)
        spec.check_fits(choice.workers, machine)
        cluster = f"{choice.workers} workers; {choice.reason}"
    except LeptonError as error:
        cluster = f"the default does not fit: {error}"
    return {"hardware": machine.describe(), "cluster": cluster}
