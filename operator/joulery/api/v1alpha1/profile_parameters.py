"""One parameter of an EnergyProfile: its value, the range that bands are drawn from, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import ApiModel, rule, with_rules

_DECIMAL = r"^[0-9]{1,4}(\.[0-9]{1,6})?$"
Decimal = Annotated[str, Field(max_length=11, pattern=_DECIMAL)]
Amount = Annotated[int, Field(ge=1, le=10**15)]
Fine = Annotated[int, Field(ge=0, le=10**15)]
Milliwatts = Annotated[int, Field(ge=-(10**9), le=10**9)]
Grade = Literal["Measured", "Interpolated", "Assumed"]
Source = Annotated[str, Field(min_length=1, max_length=300)]
Short = Annotated[str, Field(min_length=1, max_length=64)]

_GRADE = "Measured, Interpolated between measurements, or Assumed."
_SOURCE = "Where the value comes from: publication, table, measurement."
_ORDERED = with_rules(
    rule(
        "self.low <= self.value && self.value <= self.high",
        "value must lie within low and high: correct the value or widen its range",
    )
)


class Basis(ApiModel):
    """What a value rests on: how many points, how far off others were, and where it was seen to hold."""

    points: Annotated[int, Field(ge=1, le=1_000_000, description="How many measured points, a count.")]
    mean_error_percent: Annotated[
        Decimal | None,
        Field(
            description="Mean absolute error on points that were not fitted, in percent. Default: not known."
        ),
    ] = None
    valid: Annotated[
        str,
        Field(
            min_length=1,
            max_length=160,
            description="Sizes, loads, lengths and clocks at which they were measured; beyond, the value is a guess.",
        ),
    ]


_BASIS = Field(description="The points that the value was found from. Default: none stated.")


class TimeParameter(ApiModel):
    """A time of the latency model with its range and provenance, in the unit of the field's name."""

    model_config = ConfigDict(json_schema_extra=_ORDERED)

    value: Annotated[Fine, Field(description="Value used for planning, in the unit of the parameter's name.")]
    low: Annotated[Fine, Field(description="Low end of the plausible range, same unit.")]
    high: Annotated[Fine, Field(description="High end of the plausible range, same unit.")]
    grade: Annotated[Grade, Field(description=_GRADE)]
    source: Annotated[Source, Field(description=_SOURCE)]
    basis: Annotated[Basis | None, _BASIS] = None


class PowerParameter(ApiModel):
    """A power of the power model with its range and provenance, in milliwatts per GPU.

    Negative values are accepted here, so that the profile's loader can name them in the pool's condition.
    """

    model_config = ConfigDict(json_schema_extra=_ORDERED)

    value: Annotated[Milliwatts, Field(description="Value used for planning, in milliwatts.")]
    low: Annotated[Milliwatts, Field(description="Low end of the plausible range, in milliwatts.")]
    high: Annotated[Milliwatts, Field(description="High end of the plausible range, in milliwatts.")]
    grade: Annotated[Grade, Field(description=_GRADE)]
    source: Annotated[Source, Field(description=_SOURCE)]
    basis: Annotated[Basis | None, _BASIS] = None


class RatioParameter(ApiModel):
    """A unitless parameter with its range and provenance, as decimal strings."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "double(self.low) <= double(self.value) && double(self.value) <= double(self.high)",
                "value must lie within low and high: correct the value or widen its range",
            )
        )
    )

    value: Annotated[Decimal, Field(description="Value used for planning, a decimal without unit.")]
    low: Annotated[Decimal, Field(description="Low end of the plausible range, a decimal without unit.")]
    high: Annotated[Decimal, Field(description="High end of the plausible range, a decimal without unit.")]
    grade: Annotated[Grade, Field(description=_GRADE)]
    source: Annotated[Source, Field(description=_SOURCE)]
    basis: Annotated[Basis | None, _BASIS] = None
