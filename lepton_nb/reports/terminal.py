"""What a terminal would show of text that moves about in it, as bars of progress do."""

from __future__ import annotations

import re

_MOVES = re.compile(r"(\r|\n|\x1b\[\d*[AK])")
# Links and titles that only a terminal knows; the text of a link stays.
_COMMANDS = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def settle(text: str) -> str:
    """The lines that are left in the end: text after a carriage return replaces its line, also one further up."""
    lines, row, anew = [""], 0, False
    for part in _MOVES.split(_COMMANDS.sub("", text)):
        if part == "\n":
            row, anew = row + 1, True
            if row == len(lines):
                lines.append("")
        elif part == "\r":
            anew = True
        elif part.startswith("\x1b[") and part.endswith("A"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part.startswith("\x1b[") and part.endswith("K"):
            anew = True
        elif part:
            lines[row] = part if anew else lines[row] + part
            anew = False
    return "\n".join(map(_typed, lines))


def _typed(line: str) -> str:
    """`line` with its backspaces done: what follows one goes over what stood there."""
    if "\b" not in line:
        return line
    shown: list[str] = []
    place = 0
    for letter in line:
        if letter == "\b":
            place = max(0, place - 1)
        else:
            shown[place : place + 1] = [letter]
            place += 1
    return "".join(shown)
