"""Files that are there whole or not at all."""

import pytest

from lepton_nb.files import move, write_whole


@pytest.mark.parametrize("durable", [True, False])
def test_content_takes_the_place_of_what_was_there(tmp_path, durable):
    file = tmp_path / "file"
    for content in ([b"one"], [b"two", b"", b" parts"]):
        write_whole(file, content, durable=durable)
        assert file.read_bytes() == b"".join(content)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "file"
    write_whole(file, [b"old"])

    def pieces():
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(file, pieces())
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_finished_file_is_moved(tmp_path):
    (tmp_path / "made").write_bytes(b"new")
    move(tmp_path / "made", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
