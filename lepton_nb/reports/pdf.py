"""A report's page on paper, and its figures as pictures, as a Chromium on this machine draws them."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass
from pathlib import Path

from lepton_nb.errors import ReportError
from lepton_nb.reports import browser
from lepton_nb.reports.devtools import browsing

TIMEOUT_S = 120
# A4, in inches; the page's own style sheet sets the margins.
PAPER = {"paperWidth": 8.27, "paperHeight": 11.69}
FOOTER = (
    '<div style="font-size: 8px; width: 100%; text-align: center">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
FIX = f"install one ({'brew install --cask' if sys.platform == 'darwin' else 'apt install'} chromium), or name yours in {browser.VARIABLE}"  # noqa: E501
_PICTURE = """(async () => {
  const box = document.querySelectorAll("[data-figure]")[%d];
  const height = box._fullLayout && box._fullLayout.height || 450;
  return await Plotly.toImage(box, { format: "png", width: 800, height, scale: 2 });
})()"""


@dataclass(frozen=True, slots=True)
class Printed:
    """A PDF, None if none was asked for, and a PNG picture of each figure, None for one that cannot be drawn."""

    pdf: bytes | None
    pictures: list[bytes | None]


def printed(page: Path, *, pdf: bool, pictures: bool) -> Printed:
    """Print the report at `page`, take pictures of its figures, or both.

    Raises ReportError, with what to do, where there is no Chromium, and when it fails or takes longer than two minutes.
    """
    program = browser.find()
    if program is None:
        raise ReportError(f"no Chromium was found on this machine; {FIX}")
    with browsing(program, TIMEOUT_S) as tab:
        tab.open(page.absolute().as_uri())
        paper = None
        if pdf:
            found = tab.call(
                "Page.printToPDF",
                **PAPER,
                printBackground=True,
                displayHeaderFooter=True,
                headerTemplate="<span></span>",
                footerTemplate=FOOTER,
                generateTaggedPDF=True,
                generateDocumentOutline=True,
            )
            paper = base64.b64decode(found["data"])
        count = tab.evaluate('document.querySelectorAll("[data-figure]").length') if pictures else 0
        taken: list[bytes | None] = []
        for number in range(count):
            try:
                address = str(tab.evaluate(_PICTURE % number))
                taken.append(base64.b64decode(address.partition(",")[2]) or None)
            except ReportError:
                taken.append(None)
    return Printed(paper, taken)
