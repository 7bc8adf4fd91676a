"""Small tables and numbers as HTML."""

from datetime import UTC, date, datetime

import polars as pl

from lepton_nb.widgets.tables import facts_html, table_html, table_text

TABLE = pl.DataFrame(
    {
        "key <b>": ["a & b", None],
        "at": [datetime(2020, 1, 1, 12, 30, tzinfo=UTC), None],
        "day": [date(2020, 1, 1), None],
        "n": [1234567, None],
        "mean": [-2.0, 1234.5678],
        "top": [["x" * 200], []],
        "ok": [True, False],
    }
)


def test_a_table_has_a_caption_and_headers_and_escapes_what_users_wrote():
    made = table_html(TABLE, "The <last> rows")
    assert "<caption>The &lt;last&gt; rows</caption>" in made
    assert '<th scope="col">key &lt;b&gt;</th><th scope="col">at (UTC)</th><th scope="col">day</th>' in made
    assert '<th scope="col" class="number">n</th>' in made
    assert "<td>a &amp; b</td><td>2020-01-01 12:30:00</td><td>2020-01-01</td>" in made
    assert '<td class="number">1,234,567</td><td class="number">-2.0</td>' in made
    assert '<td class="number">none</td><td class="number">1,234.6</td>' in made
    assert "xxx…</td><td>True</td>" in made
    assert "x" * 80 not in made


def test_numbers_that_are_none_do_not_stop_it():
    made = table_html(pl.DataFrame({"v": [float("nan"), float("inf"), 0.0, None]}), "")
    assert [part.partition("<")[0] for part in made.split('class="number">')[2:]] == ["nan", "inf", "0", "none"]
    assert table_html(TABLE.clear(), "none").endswith("<tbody></tbody></table></div>")


def test_lists_of_values_and_counts_are_written_out():
    top = pl.DataFrame({"top": [[{"value": "ATL", "count": 12}, {"value": "ORD", "count": 9}]]})
    assert "<td>ATL 12, ORD 9</td>" in table_html(top, "")


def test_a_table_can_be_read_as_plain_text():
    assert table_text(TABLE.select("key <b>", "at", "n", "mean")) == (
        "key <b>  at (UTC)                     n     mean\n"
        "a & b    2020-01-01 12:30:00  1,234,567     -2.0\n"
        "none     none                      none  1,234.6"
    )


def test_facts_are_a_list_of_terms():
    assert facts_html([("Late", "<1> row")]) == (
        '<dl class="lepton-facts"><div><dt>Late</dt><dd>&lt;1&gt; row</dd></div></dl>'
    )
    assert facts_html([]) == ""
