"""`lepton-nb lab`: JupyterLab on loopback that asks nobody outside; and what it has in common with an app."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from lepton_nb.cluster.ports import check_free
from lepton_nb.errors import LeptonError

HOST = "127.0.0.1"
TEMPLATES = Path(__file__).parent / "share"


def lab(folder: Path | None, *, port: int, browser: bool) -> int:
    """Become JupyterLab on `folder` (default: notebooks below the current folder, else the current folder)."""
    require("jupyterlab", "lab")
    root = folder or (Path("notebooks") if Path("notebooks").is_dir() else Path())
    if not root.is_dir():
        raise LeptonError(f"there is no folder {root}; give the folder of your notebooks", path=str(root))
    options = [
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.root_dir={root.absolute()}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        # So the server fetches no news; the page would ask about them all the same, and is told not to by our settings.
        "--LabApp.news_url=None",
    ]
    check_free(HOST, port, "port")
    if port:
        options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        options.append("--no-browser")
    if os.geteuid() == 0:
        # Jupyter refuses to run as root, which is all there is in most containers; here it is on loopback.
        options.append("--allow-root")
    command = [sys.executable, "-m", "jupyterlab", *options]
    os.execve(sys.executable, command, jupyter_environment())  # noqa: S606


def jupyter_environment() -> dict[str, str]:
    """Ours with our page template and settings first, and this environment's kernels before those of the home."""
    ours = {"JUPYTER_PATH": TEMPLATES, "JUPYTER_CONFIG_PATH": TEMPLATES / "config"}
    paths = {name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])]) for name, path in ours.items()}
    return os.environ | paths | {"JUPYTER_PREFER_ENV_PATH": "1"}


def require(package: str, extra: str) -> None:
    """Raise LeptonError, with the command that helps, when `package` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise LeptonError(f'{package} is not installed; install it with: pip install "lepton-nb[{extra}]"')
