"""Makes sure that the tests have a Chromium: finds one, or installs one where that is allowed.

Run by `make test`. Without a browser the browser tests fail, they do not skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from lepton_nb.reports import browser

PLAYWRIGHT_TIMEOUT_S = 180
APT_TIMEOUT_S = 420


def main() -> int:
    """0 when there is a browser in the end; else 1, with the command to run on stderr."""
    # A browser that was asked for by name is not replaced by another.
    attempts = () if os.environ.get(browser.VARIABLE) else (_with_apt, _with_playwright)
    for attempt in (None, *attempts):
        if attempt is not None:
            attempt()
        found = browser.find()
        if found is not None:
            print(f"browser for the tests: {found}")
            return 0
    print(
        "the tests need a Chromium and none could be installed; run one of\n"
        "    sudo apt-get install --yes chromium\n"
        f"    {sys.executable} -m playwright install chromium\n"
        f"or set {browser.VARIABLE} to the path of a Chromium or Chrome",
        file=sys.stderr,
    )
    return 1


def _with_apt() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "--quiet"], APT_TIMEOUT_S, environment)
        _run(
            ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium"],
            APT_TIMEOUT_S,
            environment,
        )


def _with_playwright() -> None:
    _run([sys.executable, "-m", "playwright", "install", "chromium"], PLAYWRIGHT_TIMEOUT_S, dict(os.environ))


def _run(command: list[str], timeout_s: int, environment: dict[str, str]) -> None:
    print("+", " ".join(command), flush=True)
    try:
        subprocess.run(command, timeout=timeout_s, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{command[0]} did not work: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
