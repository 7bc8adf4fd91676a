"""Errors in the words of a form: code calls an option `size='1h'`, and a reader of the form knows it as "Size 1h"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lepton_nb.widgets.form import Field

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
# A number or a length: what need not be quoted to be told from the sentence around it.
_PLAIN = re.compile(r"[+-]?\d[\w.]*")


def in_labels(message: str, fields: Mapping[str, Field]) -> str:
    """`message` with the labels of a form for the names of arguments; what is quoted in it stays as it is.

    fields: the argument's name → the field that asks for it. Replaced are `name=value`, a name that begins a sentence
    or a part of one ("epochs is 0; ..."), and wherever it stands a name that is no word ("batch_size", "tz").
    """
    if not fields:
        return message
    names = "|".join(sorted(map(re.escape, fields), key=len, reverse=True))
    odd = "|".join(sorted(map(re.escape, filter(_is_no_word, fields)), key=len, reverse=True))
    pattern = re.compile(
        rf"(?<![\w.'\"])(?P<given>{names})=(?P<value>{_QUOTED}|[\w.+-]*[\w+-]|(?![\w(\[{{]))"
        rf"|(?<!\w)(?:{_QUOTED})"
        rf"|(?:(?<=^)|(?<=[:;] ))(?P<first>{names})(?= (?:is|are|has|must|cannot|needs|names|takes|holds)\b)"
        rf"|(?<=leave )(?P<left>{names})(?= out\b)" + (rf"|(?<![\w.'\"])(?P<odd>{odd})(?![\w=(\[])" if odd else "")
    )
    said = pattern.sub(lambda found: _replaced(found, fields), message)
    # "Size: Size 2 is ..." tells the label twice.
    return re.sub(r"^([^:]+): \1 ", r"\1: ", said)


def _is_no_word(name: str) -> bool:
    """True for what no sentence has by itself, such as "batch_size" and "tz"; single letters are units too."""
    return "_" in name or (len(name) > 1 and not set("aeiouy") & set(name))


def _replaced(found: re.Match[str], fields: Mapping[str, Field]) -> str:
    parts = found.groupdict()
    if parts["given"]:
        field = fields[parts["given"]]
        return f"{field.label} {_shown(parts['value'], field)}".rstrip()
    name = parts["first"] or parts["left"] or parts.get("odd")
    return fields[name].label if name else found[0]


def _shown(written: str, field: Field) -> str:
    """A value that code wrote as the form shows it."""
    for words, value in field.choices or ():
        if written == repr(value) and words != str(value):
            return f"“{words}”"
    if field.kind is bool and written in ("True", "False"):
        return "on" if written == "True" else "off"
    inner = written[1:-1] if written[:1] in ("'", '"') else written
    return inner if _PLAIN.fullmatch(inner) else written
