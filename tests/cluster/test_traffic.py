from types import SimpleNamespace

from lepton_nb.cluster.traffic import Rate, Traffic


def test_a_rate_is_what_was_added_since_the_look_before():
    rate = Rate()
    assert rate.of(500, now_s=10.0) == 0.0
    assert rate.of(900, now_s=12.0) == 200.0
    assert rate.of(900, now_s=13.0) == 0.0
    assert rate.of(1000, now_s=13.0) == 0.0


def test_each_transfer_counts_once():
    worker = SimpleNamespace(transfer_incoming_log=[], transfer_outgoing_bytes_total=0)
    traffic = Traffic()
    assert traffic(worker) == {"received_bytes_s": 0.0, "sent_bytes_s": 0.0}
    worker.transfer_incoming_log += [{"total": 10}, {"total": 20}]
    worker.transfer_outgoing_bytes_total = 60
    seen = traffic(worker)
    assert seen["sent_bytes_s"] > 0
    assert round(seen["sent_bytes_s"] / seen["received_bytes_s"], 6) == 2
    assert traffic(worker) == {"received_bytes_s": 0.0, "sent_bytes_s": 0.0}
