import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_example(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(examples) == 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(examples[number], "README.md", "exec"), names)
    return names


@pytest.mark.slow
def test_the_example_runs_as_it_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_example(0, tmp_path, monkeypatch)
    assert names["delays"].columns == ["carrier", "window_start", "window_end", "flights", "mean_delay", "p95"]
    assert names["run"].history.height == 3
    assert names["cluster"].closed
    assert "'auc': " in capsys.readouterr().out


def test_the_live_example_runs_as_it_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_example(1, tmp_path, monkeypatch)
    table, late = names["stream"].table(), names["stream"].late()
    assert table.columns == ["origin", "window_start", "window_end", "flights", "mean_delay", "carriers"]
    assert table.height > 2_000
    assert 0 < late.height < 100
    # A row that is not late is in six windows, or in fewer where it came too late for the others.
    on_time = names["seen"].height - late.height
    assert 5.9 * on_time < table["flights"].sum() <= 6 * on_time
    assert (tmp_path / "delays.duckdb").exists()
    assert "SELECT" in capsys.readouterr().out.upper()


@pytest.mark.slow
def test_the_training_example_runs_as_it_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run_example(2, tmp_path, monkeypatch)
    assert names["run"].history["validation_auc"].null_count() == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("late-checkpoints", "late-history", "late-model", "late-tensorflow", "late-tensorflow.json")
    }
    assert "core-seconds" in capsys.readouterr().out


def test_the_page_is_made_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_example(3, tmp_path, monkeypatch)
    page = names["page"]
    assert [panel.title for panel in page.panels] == ["Cluster", "Training", "Windows over a stream"]
    assert names["panel"].cluster is None
    for panel in page.panels:
        panel.close()
    page.close()


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
