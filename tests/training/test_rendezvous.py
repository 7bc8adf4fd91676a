import socket

import psutil
import pytest

import lepton_nb as lnb
from lepton_nb.training import rendezvous


def test_the_announced_port_serves_on_loopback_alone():
    server = rendezvous.listen("127.0.0.1")
    port = server.getsockname()[1]
    store = rendezvous.serve(server, 2, timeout_s=10)
    other = rendezvous.join("127.0.0.1", port, 2, timeout_s=10)
    other.set("word", "heard")
    assert store.get("word") == b"heard"
    addresses = [
        address.address
        for found in psutil.net_if_addrs().values()
        for address in found
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    # All of 127.0.0.0/8 is this machine, and the store listens on one address of it.
    for address in ("127.0.0.2", *addresses):
        with socket.socket() as outside:
            assert outside.connect_ex((address, port)) != 0


def test_many_rendezvous_at_a_time_get_ports_of_their_own():
    servers = [rendezvous.listen("127.0.0.1") for _ in range(50)]
    try:
        assert len({server.getsockname()[1] for server in servers}) == 50
    finally:
        for server in servers:
            server.close()


def test_the_interface_of_an_address():
    assert rendezvous.interface_of("127.0.0.1") == "lo"
    with pytest.raises(lnb.TrainingError, match=r"no network interface .* 203.0.113.7"):
        rendezvous.interface_of("203.0.113.7")
