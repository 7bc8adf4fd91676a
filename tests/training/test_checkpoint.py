"""Files of checkpoints: whole or not there, the last few and the best, and nothing in them is executed."""

import os
import pickle

import pytest
import torch

import lepton_nb as lnb
from lepton_nb.training import checkpoint, torch_state


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_few_and_the_best_are_kept(tmp_path):
    store = checkpoint.Store(tmp_path / "a" / "b", keep=2)
    for step in (5, 10, 15, 100_000):
        store.save(step, b"%d" % step, best=step == 10)
    assert names(tmp_path / "a" / "b") == ["best.ckpt", "step-0000000015.ckpt", "step-0000100000.ckpt"]
    assert checkpoint.newest(tmp_path / "a" / "b") == b"100000"
    assert checkpoint.newest(tmp_path / "a" / "b" / "best.ckpt") == b"10"


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"!", lambda _: b""])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(damage, tmp_path):
    store = checkpoint.Store(tmp_path, keep=3)
    store.save(1, b"first", best=False)
    store.save(2, b"second", best=False)
    file = tmp_path / "step-0000000002.ckpt"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match=r"step-0000000002\.ckpt is no checkpoint of lepton_nb, or it is damaged"):
        assert checkpoint.newest(tmp_path) == b"first"
    with pytest.raises(lnb.TrainingError, match="or it is damaged"):
        checkpoint.newest(file)
    (first,) = tmp_path.glob("step-*1.ckpt")
    first.write_bytes(damage(first.read_bytes()))
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(lnb.TrainingError, match="all checkpoints in .* are damaged; give"),
    ):
        checkpoint.newest(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(lnb.TrainingError, match="holds no checkpoint to resume from"):
        checkpoint.newest(tmp_path)
    with pytest.raises(lnb.TrainingError, match="cannot be read: No such file"):
        checkpoint.newest(tmp_path / "nowhere")


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    store = checkpoint.Store(tmp_path, keep=1)
    store.save(1, b"first", best=False)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(lnb.TrainingError, match="No space left on device; free some space there"):
        store.save(2, b"second", best=False)
    assert names(tmp_path) == ["step-0000000001.ckpt"]
    assert checkpoint.newest(tmp_path) == b"first"


def test_what_a_kill_left_half_written_is_cleared(tmp_path):
    (tmp_path / "step-0000000001.ckpt.part").write_bytes(b"half")
    checkpoint.Store(tmp_path, keep=1)
    assert names(tmp_path) == []


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    store = checkpoint.Store(tmp_path / "run", keep=1)
    for content in (pickle.dumps(Trap()), torch_state.packed({"identity": Trap()})):
        store.save(1, content, best=False)
        with pytest.raises(lnb.TrainingError, match="the checkpoint cannot be read"):
            torch_state.unpacked(checkpoint.newest(tmp_path / "run"))
    store.save(1, torch_state.packed({"other": torch.zeros(1)}), best=False)
    with pytest.raises(lnb.TrainingError, match="is not one of a PyTorch run"):
        torch_state.unpacked(checkpoint.newest(tmp_path / "run"))
    assert not (tmp_path / "executed").exists()


def test_a_listing_tells_the_checkpoints_of_a_folder_the_best_one_last(tmp_path):
    assert checkpoint.listing(None).is_empty()
    assert checkpoint.listing(tmp_path / "not there").is_empty()
    store = checkpoint.Store(tmp_path, keep=2)
    for step, best in ((5, False), (10, True), (15, False)):
        store.save(step, b"x" * step, best=best)
    found = checkpoint.listing(tmp_path)
    assert found["name"].to_list() == ["step-0000000010.ckpt", "step-0000000015.ckpt", "best.ckpt"]
    assert found["size_bytes"].to_list() == [(tmp_path / name).stat().st_size for name in found["name"]]
    assert found["written_at"].dtype.time_zone == "UTC"
