import os
from datetime import UTC, datetime, timedelta

from lepton_nb.reports import history_page, plots
from lepton_nb.reports.ledger import Ledger, Run

START = datetime(2026, 3, 1, tzinfo=UTC)


def a_run(root, number, **facts):
    return Run(**{
        "id": f"{number:032x}", "notebook": "a.ipynb", "folder": root / str(number), "status": "finished",
        "started": START + timedelta(hours=number), "ended": START + timedelta(hours=number, seconds=2), **facts,
    })  # fmt: skip


def test_what_people_wrote_stays_text(tmp_path):
    evil = "<script>alert(1)</script>"
    run = a_run(tmp_path, 1, notebook=evil, parameters={evil: evil}, metrics={evil: evil})
    assert "<script>alert" not in history_page.render([run], tmp_path)


def test_only_a_report_that_is_there_and_was_not_replaced_has_a_link(tmp_path):
    runs = [a_run(tmp_path, number, folder=tmp_path / "same ß") for number in (2, 1)]
    assert "<a href=" not in history_page.render(runs, tmp_path).partition("<main>")[2]
    (tmp_path / "same ß").mkdir()
    (tmp_path / "same ß" / "report.html").touch()
    page = history_page.render(runs, tmp_path)
    assert page.count('<a href="same%20%C3%9F/report.html">') == 1


def test_charts_are_of_numbers_of_finished_runs_the_oldest_first(tmp_path):
    values = [0.3, float("nan"), 0.2, "x", True, {"type": "float", "value": 0.1}]
    runs = [a_run(tmp_path, number, metrics={"auc": value}) for number, value in enumerate(values)]
    runs.append(a_run(tmp_path, 9, metrics={"auc": 7.0}, status="failed"))
    runs.append(a_run(tmp_path, 10, metrics={"once": 7.0}))
    (chart,) = history_page.charts(runs)
    assert (chart["metric"], chart["runs"], chart["last"]) == ("auc", 3, 0.3)
    assert (chart["plot"].least, chart["plot"].most) == (0.1, 0.3)
    ys = [y for _, y in chart["plot"].points]
    assert ys == sorted(ys, reverse=True)


def test_plots_stay_in_their_box():
    for values in ([1], [2, 2], [-1e308, 1e308], [10**400, 1]):
        drawable = [value for value in map(plots.number, values) if value is not None]
        for plot in (plots.trend(drawable), plots.by_parameter(["b", "a"][: len(drawable)], drawable)):
            assert all(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT for x, y in plot.points)
    assert [word for _, word in plots.by_parameter([1, 10, 3], [1, 2, 3]).ticks] == ["1", "10"]


def test_the_page_is_not_written_for_each_of_many_runs_and_never_over_anothers(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    page = history_page.write(ledger)
    before = page.read_text()
    ledger.begin("a", notebook="a.ipynb", parameters={}, folder=tmp_path / "a")
    history_page.write(ledger, lazily=True)
    assert page.read_text() == before
    history_page.write(ledger)
    assert page.read_text() != before
    os.utime(page, (1, 1))
    ledger.begin("b", notebook="b.ipynb", parameters={}, folder=tmp_path / "b")
    history_page.write(ledger, lazily=True)
    assert "b.ipynb" in page.read_text()
    page.write_text("<p>mine</p>")
    history_page.write(ledger)
    assert page.read_text() == "<p>mine</p>"
    assert sorted(os.listdir(tmp_path)) == ["index.html", "ledger.sqlite"]


def test_of_thousands_of_runs_the_newest_are_shown(tmp_path):
    runs = [a_run(tmp_path, number, metrics={"auc": 0.5}) for number in range(6_000, 0, -1)]
    page = history_page.render(runs, tmp_path)
    assert "6000 runs, the newest 5000 of them here" in page
    assert page.count("<tr data-notebook") == 5_000
    assert len(page) < 3_000_000
