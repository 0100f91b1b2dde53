"""Operating points remembered by content: the same question is answered once. Pure in effect."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.serving.class_mix import Lengths
from joulery.serving.instance import instance_model
from joulery.serving.parameters import EngineProfile
from joulery.serving.points import SAMPLE_REQUESTS, OperatingPoints, between, operating_points
from joulery.serving.sample import Samples
from joulery.serving.truth import perturbed


class PointCatalog:
    """Operating points by content of the question; the least recently asked are dropped."""

    def __init__(self, *, requests: int = SAMPLE_REQUESTS, capacity: int = 4096) -> None:
        self._requests = requests
        self._capacity = capacity
        self._known: OrderedDict[object, OperatingPoints] = OrderedDict()
        self._samples = Samples()

    def __len__(self) -> int:
        return len(self._known)

    def points(
        self,
        profile: EngineProfile,
        variant: Variant,
        *,
        mix: Lengths,
        objective: Objective,
        clocks_mhz: Sequence[int],
        dispersion: float = 1.0,
        speed: float = 1.0,
    ) -> OperatingPoints:
        """Operating points of a variant whose times are the profile's divided by `speed`, above 0.

        Computed at tenths of a speed and mixed between them. Raises UnknownVariantError where the profile does
        not hold the variant.
        """

        def at_tenths(tenths: int) -> OperatingPoints:
            return self._computed(profile, variant, mix, objective, tuple(clocks_mhz), dispersion, tenths)

        tenths = math.floor(10.0 * speed + 1e-9)
        share = 10.0 * speed - tenths
        if share < 1e-9:
            return at_tenths(tenths)
        return between(at_tenths(max(tenths, 1)), at_tenths(tenths + 1), share)

    def _computed(
        self,
        profile: EngineProfile,
        variant: Variant,
        mix: Lengths,
        objective: Objective,
        clocks_mhz: tuple[int, ...],
        dispersion: float,
        tenths: int,
    ) -> OperatingPoints:
        options = (
            variant.accelerator,
            variant.tensor_parallel_size,
            variant.token_budget,
            variant.max_num_seqs,
        )
        key = (profile.content_hash, options, mix.content_hash, objective, clocks_mhz, dispersion, tenths)
        known = self._known.get(key)
        if known is None:
            known = operating_points(
                instance_model(_at(profile, tenths), variant.accelerator, variant.tensor_parallel_size),
                token_budget=variant.token_budget,
                max_num_seqs=variant.max_num_seqs,
                mix=mix,
                objective=objective,
                clocks_mhz=clocks_mhz,
                dispersion=dispersion,
                requests=self._requests,
                samples=self._samples,
            )
            self._known[key] = known
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known


def _at(profile: EngineProfile, tenths: int) -> EngineProfile:
    return profile if tenths == 10 else perturbed(profile, time_factor=10.0 / tenths, power_factor=1.0)
