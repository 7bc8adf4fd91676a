import tempfile

import pytest

from lepton_nb.cli.webapp import server


@pytest.mark.parametrize(
    ("folder", "transport"),
    [
        ("/tmp/short", "--KernelManager.transport=ipc"),
        # Sockets cannot have a path as long as theirs would be there; then they are not in the file system.
        ("/tmp/" + "x" * 80, "--KernelManager.transport_encryption=auto"),
    ],
)
def test_kernels_are_reached_by_sockets_where_their_path_is_short_enough(folder, transport, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", folder)
    monkeypatch.setattr(server.os, "access", lambda path, mode: path == folder)
    spec = server.AppSpec(notebook=tmp_path, ip="::1", port=0, browser=False, preheat=0, keep_s=1, token="")
    options = server._options(spec)
    assert [option for option in options if option.startswith("--KernelManager.transport")] == [transport]


@pytest.mark.parametrize(
    ("ip", "token", "address"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:80/"),
        ("::1", "", "http://[::1]:80/"),
        ("0.0.0.0", "a", "http://host:80/?token=a"),
    ],
)
def test_the_address_is_what_a_visitor_types(ip, token, address, tmp_path, monkeypatch):
    monkeypatch.setattr(server.socket, "gethostname", lambda: "host")
    app = server.AppServer()
    app.spec = server.AppSpec(notebook=tmp_path, ip=ip, port=0, browser=False, preheat=0, keep_s=1, token=token)
    app.port = 80
    assert app.address == address
