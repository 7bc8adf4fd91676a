"""Finds a Chromium on this machine, for pictures of pages and for tests."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

VARIABLE = "LEPTON_NB_CHROMIUM"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> Path | None:
    """The browser that LEPTON_NB_CHROMIUM names, Playwright's own, or one on the PATH; None when there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        path = shutil.which(named)
        return Path(path) if path else None
    return next(iter(_of_playwright()), None) or _on_path()


def _of_playwright() -> list[Path]:
    """Playwright's browsers, the newest first: numbers are its own revisions."""
    default = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser() / "ms-playwright"
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or default)
    pattern = "chromium-*/chrome-mac*/*.app/Contents/MacOS/*" if sys.platform == "darwin" else "chromium-*/*/chrome"
    found = [path for path in folder.glob(pattern) if os.access(path, os.X_OK)]
    return sorted(found, key=lambda path: _revision(path.relative_to(folder)), reverse=True)


def _revision(path: Path) -> int:
    digits = path.parts[0].rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


def _on_path() -> Path | None:
    return next((Path(path) for name in COMMANDS if (path := shutil.which(name))), None)
