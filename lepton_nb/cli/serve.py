"""`lepton-nb lab` and `lepton-nb app`: servers on loopback that ask nobody outside."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from lepton_nb.cli.output import say
from lepton_nb.cluster.ports import check_free
from lepton_nb.errors import LeptonError

HOST = "127.0.0.1"
CULL_IDLE_S, CULL_EVERY_S = 600, 60
TEMPLATES = Path(__file__).parent / "share"


def lab(folder: Path | None, *, port: int, browser: bool) -> int:
    """Become JupyterLab on `folder` (default: notebooks below the current folder, else the current folder)."""
    _require("jupyterlab", "lab")
    root = folder or (Path("notebooks") if Path("notebooks").is_dir() else Path())
    if not root.is_dir():
        raise LeptonError(f"there is no folder {root}; give the folder of your notebooks", path=str(root))
    options = [
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.root_dir={root.absolute()}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
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
    os.execve(sys.executable, command, _environment())  # noqa: S606


def app(notebook: Path, *, port: int, browser: bool) -> int:
    """Serve `notebook` with Voilà until Ctrl-C or SIGTERM, then end its kernels."""
    _require("voila", "app")
    if not notebook.is_file():
        raise LeptonError(f"there is no notebook {notebook}; check the path", path=str(notebook))
    check_free(HOST, port, "port")
    os.environ.update(_environment())
    from tornado.ioloop import IOLoop
    from voila.app import Voila

    options = [
        str(notebook.absolute()),
        f"--Voila.ip={HOST}",
        "--Voila.log_level=WARN",
        "--VoilaConfiguration.template=lepton",
        "--VoilaExporter.markdown_renderer_class=lepton_nb.cli.app_markdown.WithFormulas",
        "--VoilaConfiguration.allow_template_override=NO",
        "--VoilaConfiguration.kernel_spec_manager_class=lepton_nb.reports.kernel.ThisPython",
        "--VoilaConfiguration.show_tracebacks=True",
        "--KernelManager.transport_encryption=auto",
        # A page that closes asks for its kernel's end; this is for one that could not, as when its browser crashed.
        f"--MappingKernelManager.cull_idle_timeout={CULL_IDLE_S}",
        f"--MappingKernelManager.cull_interval={CULL_EVERY_S}",
        "--MappingKernelManager.cull_connected=False",
    ]
    if port:
        options += [f"--Voila.port={port}", "--Voila.port_retries=0"]
    if not browser:
        options.append("--no-browser")
    server = Voila.instance()
    server.initialize(options)
    server.voila_configuration.prelaunch_hook = _allow_shutdown
    # The port is known once the server listens, and this runs after that.
    IOLoop.current().add_callback(lambda: say(f"{notebook.name} is at {server.display_url} ; Ctrl-C ends it"))
    server.start()
    return 0


def _allow_shutdown(request: Any, notebook: Any, cwd: str) -> None:
    """Send the page the `_xsrf` cookie, which it needs to ask for its kernel's end; reading the token does that."""
    _ = request.xsrf_token


def _environment() -> dict[str, str]:
    """Ours with our page template first, and this environment's kernels before those in the home folder."""
    paths = [str(TEMPLATES), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(paths), "JUPYTER_PREFER_ENV_PATH": "1"}


def _require(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise LeptonError(f'{package} is not installed; install it with: pip install "lepton-nb[{extra}]"')
