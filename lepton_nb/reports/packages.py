"""The packages of this Python, with one hash over all, and the lock file of the project."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from lepton_nb.reports.inputs import sha256

# Of a project, the first that is there.
LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "conda-lock.yml", "constraints.txt", "requirements.txt")


def packages(folder: Path | None) -> dict[str, Any]:
    """{"sha256": of all names and versions, "installed": version by name, "lock": {"path", "sha256"} or None}.

    folder: the project's, which may hold a lock file.
    """
    versions = installed()
    text = "".join(f"{name}=={version}\n" for name, version in versions.items())
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "installed": versions,
        "lock": lock(folder) if folder is not None else None,
    }


def installed() -> dict[str, str]:
    """The version of every distribution that this Python can import, sorted by normalised name.

    They are told from the names of their folders: reading each one's description would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # a zip file, or not there
        for entry in names:
            name, dash, version = entry.removesuffix(".dist-info").partition("-")
            if dash and entry.endswith(".dist-info"):
                # As imports do, the first on the path counts.
                found.setdefault(_normal(name), version)
    return dict(sorted(found.items()))


def lock(folder: Path) -> dict[str, str] | None:
    """Name and hash of the lock file in `folder`, None when there is none."""
    for name in LOCKS:
        if (folder / name).is_file():
            return {"path": name, "sha256": sha256(folder / name)}
    return None


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
