"""Bindings hold for the pod they were made for, and for no other."""

from __future__ import annotations

from agent_cases import binding
from joulery.agent.bindings import BindingBook, PodDevices, resolve
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey

IDS = {"GPU-a": "GPU-a", "GPU-b": "GPU-b", "0": "GPU-a", "1": "GPU-b"}


def pod(name: str, *ids: str) -> PodDevices:
    return PodDevices("llm", name, ids)


def test_instance_gets_the_gpus_of_its_pod() -> None:
    found = resolve(BindingBook(), [binding("chat-0")], [pod("chat-0", "GPU-b", "GPU-a")], IDS)
    assert [i.gpus for i in found.instances] == [("GPU-a", "GPU-b")]
    assert found.holders["GPU-a"] == ObjectKey("llm", "chat-0")


def test_index_and_shared_ids_lead_to_uuids() -> None:
    found = resolve(BindingBook(), [binding("chat-0")], [pod("chat-0", "1", "GPU-a::3")], IDS)
    assert found.instances[0].gpus == ("GPU-a", "GPU-b")


def test_mig_slices_and_unknown_gpus_are_not_clocked() -> None:
    found = resolve(BindingBook(), [binding("chat-0")], [pod("chat-0", "MIG-1", "GPU-elsewhere")], IDS)
    assert found.instances[0].gpus == ()


def test_pod_that_has_not_arrived_waits_and_is_not_dropped() -> None:
    early = resolve(BindingBook(), [binding("chat-0")], [], IDS)
    assert early.instances == ()
    later = resolve(early.book, [binding("chat-0")], [pod("chat-0", "GPU-a")], IDS)
    assert later.instances[0].gpus == ("GPU-a",)


def test_binding_is_void_once_its_pod_left_even_if_the_name_returns() -> None:
    bindings = [binding("chat-0")]
    first = resolve(BindingBook(), bindings, [pod("chat-0", "GPU-a")], IDS)
    gone = resolve(first.book, bindings, [], IDS)
    back = resolve(gone.book, bindings, [pod("chat-0", "GPU-a")], IDS)
    assert gone.instances == back.instances == ()


def test_binding_is_void_when_the_pod_holds_other_devices() -> None:
    bindings = [binding("chat-0")]
    first = resolve(BindingBook(), bindings, [pod("chat-0", "GPU-a")], IDS)
    assert resolve(first.book, bindings, [pod("chat-0", "GPU-b")], IDS).instances == ()


def test_new_uid_or_address_revives_the_name() -> None:
    first = resolve(BindingBook(), [binding("chat-0")], [pod("chat-0", "GPU-a")], IDS)
    gone = resolve(first.book, [binding("chat-0")], [], IDS)
    for again in (binding("chat-0", uid="uid-2"), binding("chat-0", address="10.0.0.9")):
        assert resolve(gone.book, [again], [pod("chat-0", "GPU-a")], IDS).instances[0].gpus == ("GPU-a",)


def test_memory_of_dropped_bindings_ends_with_the_spec() -> None:
    first = resolve(BindingBook(), [binding("chat-0")], [pod("chat-0", "GPU-a")], IDS)
    gone = resolve(first.book, [binding("chat-0")], [], IDS)
    assert gone.book.dropped
    assert not resolve(gone.book, [], [], IDS).book.dropped


def test_gpu_shared_with_a_stranger_is_refused() -> None:
    pods = [pod("chat-0", "GPU-a::0", "GPU-b"), PodDevices("other", "train", ("GPU-a::1",))]
    found = resolve(BindingBook(), [binding("chat-0")], pods, IDS)
    assert found.instances[0].gpus == ("GPU-b",)
    assert found.refused["GPU-a"].reason == reasons.NO_BINDING
    assert "other/train" in found.refused["GPU-a"].message


def test_gpu_of_a_pod_without_binding_is_told_but_not_clocked() -> None:
    found = resolve(BindingBook(), [], [PodDevices("other", "train", ("GPU-a",))], IDS)
    assert found.instances == ()
    assert found.holders == {"GPU-a": ObjectKey("other", "train")}
