"""From instances' wishes to one target per GPU, inside the administrator's bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulery.agent.bindings import BoundInstance
from joulery.agent.bounds import permission
from joulery.agent.governing import Wish
from joulery.agent.gpu import GpuFacts, snap
from joulery.agent.record import Target
from joulery.api.labels import accelerator_of_product
from joulery.domain import reasons
from joulery.domain.plan import Binding
from joulery.domain.policy import Policy
from joulery.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Grounds:
    """What targets rest on besides the wishes; `lease_problem` is set while the operator is silent."""

    policies: Sequence[Policy]
    refused: Mapping[str, Verdict]
    lease_problem: Verdict | None = None


_UNBOUND = Verdict(reasons.NO_BINDING, "no instance of a pool in Act holds this GPU; default clocks")


def targets(
    gpus: Sequence[GpuFacts],
    instances: Sequence[BoundInstance],
    wishes: Mapping[Binding, Wish],
    grounds: Grounds,
) -> Mapping[str, Target | Verdict]:
    """For every GPU of the node its target, or why it keeps default clocks.

    A GPU that several instances share gets the highest of their clocks.
    """
    facts = {gpu.uuid: gpu for gpu in gpus}
    found: dict[str, Target | Verdict] = {uuid: grounds.refused.get(uuid, _UNBOUND) for uuid in facts}
    for instance in instances:
        for uuid in instance.gpus:
            found[uuid] = _higher(
                found[uuid], _target(facts[uuid], instance.binding, wishes[instance.binding], grounds)
            )
    return found


def _target(gpu: GpuFacts, binding: Binding, wish: Wish, grounds: Grounds) -> Target | Verdict:
    if grounds.lease_problem is not None:
        return grounds.lease_problem
    accelerator = accelerator_of_product(gpu.product_label) or gpu.product_label
    bounds = permission(grounds.policies, binding.namespace, accelerator)
    if isinstance(bounds, Verdict):
        return bounds
    highest_mhz = snap(gpu.clocks_mhz, wish.clock_mhz, bounds.floor_mhz, bounds.ceiling_mhz)
    return Target(wish.clock_mhz, highest_mhz, wish.verdict, wish.highest_since_s)


def _higher(one: Target | Verdict, other: Target | Verdict) -> Target | Verdict:
    """The faster of two: where one sharer may not be slowed, none is."""
    if isinstance(one, Verdict):
        return other if one is _UNBOUND else one
    if isinstance(other, Verdict):
        return other
    return max(one, other, key=lambda target: target.highest_mhz)
