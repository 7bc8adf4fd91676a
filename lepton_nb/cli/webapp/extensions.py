"""Which extensions of JupyterLab a page of ours leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Parts of JupyterLab that there are none of in a page of Voilà: an extension that needs one fails there, loudly.
NOT_IN_A_PAGE = {"@jupyterlab/notebook", "@jupyterlab/codeeditor", "@jupyterlab/fileeditor", "@jupyterlab/mainmenu"}
WIDGETS = "@jupyter-widgets/base"


def left_out(folders: Iterable[str]) -> list[str]:
    """Names of extensions in `folders` of JupyterLab's that are for its notebooks and editors alone, sorted.

    What draws outputs or brings widgets stays.
    """
    from jupyterlab_server.config import get_federated_extensions

    return sorted(name for name, package in get_federated_extensions(list(folders)).items() if not _fits(package))


def _fits(package: dict[str, Any]) -> bool:
    needs = {*package.get("dependencies", {}), *package.get("jupyterlab", {}).get("sharedPackages", {})}
    build = package.get("jupyterlab", {}).get("_build", {})
    return "mimeExtension" in build or WIDGETS in needs or not needs & NOT_IN_A_PAGE
