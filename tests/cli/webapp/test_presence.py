from lepton_nb.cli.webapp.presence import Presence


def test_a_visit_is_due_when_its_page_was_silent_for_too_long_and_not_while_it_is_being_made():
    presence = Presence(keep_s=10)
    presence.begin("a", 0)
    presence.begin("b", 0)
    assert presence.due(1_000) == []
    presence.sent("a", 1_000)
    assert presence.due(1_009) == []
    assert presence.due(1_010) == ["a"]
    presence.heard("a", 1_009)
    presence.sent("b", 1_005)
    assert presence.due(1_018) == ["b"]
    assert presence.due(1_019) == ["a", "b"]
    presence.forget("b")
    assert presence.kernels == ("a",)
    assert presence.due(1_019) == ["a"]


def test_a_page_that_has_connected_must_be_heard_of_also_while_it_is_being_made():
    presence = Presence(keep_s=10)
    presence.begin("a", 0)
    presence.heard("a", 100)
    assert presence.due(109) == []
    assert presence.due(110) == ["a"]


def test_what_is_over_stays_over():
    presence = Presence(keep_s=1)
    presence.begin("a", 0)
    presence.forget("a")
    presence.sent("a", 1)
    presence.heard("a", 2)
    presence.forget("a")
    assert "a" not in presence
    assert presence.due(100) == []
