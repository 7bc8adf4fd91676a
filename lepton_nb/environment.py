"""Where this code runs: a notebook in JupyterLab, an app, a report, or a script."""

from __future__ import annotations

import os
from typing import Literal

Mode = Literal["lab", "app", "report", "script"]

MODE_VARIABLE = "LEPTON_NB_MODE"


def mode() -> Mode:
    """The life that this process lives.

    "report" when our report runner started the kernel (it sets LEPTON_NB_MODE), "app" under Voilà
    (VOILA_KERNEL_ID), "lab" in a Jupyter server's session (JPY_SESSION_NAME), else "script".
    """
    if os.environ.get(MODE_VARIABLE) == "report":
        return "report"
    if "VOILA_KERNEL_ID" in os.environ:
        return "app"
    if "JPY_SESSION_NAME" in os.environ:
        return "lab"
    return "script"
