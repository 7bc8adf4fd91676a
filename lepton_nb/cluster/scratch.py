"""The temporary folder of a cluster or a stream, and the janitor that removes it when the owner cannot.

A notebook's kernel may be killed at any moment, and then nothing of it runs any more. The janitor is a small
process beside it that waits for its end, ends worker processes that have outlived it, and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from lepton_nb.cluster import janitor

SCRATCH_VARIABLE = "LEPTON_NB_SCRATCH"


class Scratch:
    """A private folder (mode 0700) that is gone after `close`, or after the end of this process, however it ends."""

    def __init__(self, owner: str = "cluster") -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"lepton-nb-{owner}-"))
        try:
            # -I and -S: nothing of the user's environment is imported, and it starts in some 20 ms.
            self._janitor = subprocess.Popen(
                [sys.executable, "-I", "-S", janitor.__file__, str(self.path), SCRATCH_VARIABLE],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                # A report ends at its end all processes that carry its mark; this one has its own work to do then.
                env={name: value for name, value in os.environ.items() if not name.startswith("LEPTON_NB_REPORT_")},
                cwd="/",
            )
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def close(self) -> None:
        """Remove the folder and end the janitor. Safe to call twice.

        Warns, with the folder's name, where something in it cannot be removed.
        """
        removed = janitor.remove(str(self.path))
        if self._janitor.stdin is not None and not self._janitor.stdin.closed:
            self._janitor.stdin.close()
        if not removed:
            self._janitor.kill()
            warnings.warn(
                f"the temporary folder {self.path} cannot be removed whole; see what is left in it",
                RuntimeWarning,
                stacklevel=2,
            )
        self._janitor.wait()
