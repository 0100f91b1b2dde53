"""Which GPUs pods get."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulery.emulator.allocation import GpuAllocator


def test_groups_get_aligned_blocks_even_when_lower_gpus_are_free() -> None:
    gpus = GpuAllocator(8)
    assert gpus.allocate("one", 1) == (0,)
    assert gpus.allocate("four", 4) == (4, 5, 6, 7)
    assert gpus.allocate("two", 2) == (2, 3)


def test_a_pod_that_asks_again_gets_the_same_gpus() -> None:
    gpus = GpuAllocator(8)
    assert gpus.allocate("pod", 2) == gpus.allocate("pod", 2)
    assert len(gpus.free) == 6


def test_a_pod_that_asks_for_more_than_is_free_gets_none_and_takes_nothing() -> None:
    gpus = GpuAllocator(4)
    gpus.allocate("first", 2)
    assert gpus.allocate("second", 4) is None
    assert gpus.free == (2, 3)


def test_a_pod_without_gpus_holds_none() -> None:
    assert GpuAllocator(8).allocate("plain", 0) == ()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.sampled_from([1, 2, 4, 8])), max_size=40))
def test_no_gpu_is_ever_held_twice_or_lost(steps: list[tuple[bool, int, int]]) -> None:
    gpus = GpuAllocator(8)
    for allocate, pod, size in steps:
        if allocate:
            gpus.allocate(str(pod), size)
        else:
            gpus.release(str(pod))
        held = [index for pod_number in range(8) for index in gpus.held(str(pod_number))]
        assert sorted([*held, *gpus.free]) == list(range(8))
