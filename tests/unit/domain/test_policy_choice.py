"""Which policy governs a namespace."""

from __future__ import annotations

from joulery.domain.policy import Policy, cluster_wide, governing


def test_the_highest_priority_wins_then_the_first_name() -> None:
    policies = (Policy("b", priority=5), Policy("a", priority=5), Policy("default", priority=1))
    chosen = governing(policies, "serving")
    assert chosen is not None and chosen.name == "a"


def test_a_policy_governs_only_the_namespaces_it_names() -> None:
    policies = (Policy("team", priority=9, namespaces=("team-a",)), Policy("default"))
    assert getattr(governing(policies, "team-a"), "name", None) == "team"
    assert getattr(governing(policies, "team-b"), "name", None) == "default"
    assert governing((Policy("team", namespaces=("team-a",)),), "team-b") is None


def test_only_the_policy_named_default_is_cluster_wide() -> None:
    assert cluster_wide((Policy("other"),)) is None
    assert getattr(cluster_wide((Policy("other"), Policy("default"))), "name", None) == "default"
