"""What all kinds share: naming, CEL rules, conditions.

A field's description says what it is and its unit; "Required." or "Default: ..." is added from the model when
the CRD is made, so the two cannot drift apart.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_ACRONYMS = {"gpu": "GPU", "gpus": "GPUs", "kv": "KV", "mhz": "MHz", "uid": "UID"}

DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}(\.{DNS_LABEL})*"


def camel(name: str) -> str:
    """`max_clock_mhz` -> `maxClockMHz`: lower camel case with Kubernetes' spelling of acronyms."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class ApiModel(BaseModel):
    """A part of an API object. Unknown fields are ignored: a newer CRD must not stop an older program."""

    model_config = ConfigDict(alias_generator=camel, populate_by_name=True, frozen=True, extra="ignore")

    def manifest(self) -> dict[str, Any]:
        """The part as it is written to the API server; what is not set is left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def rule(cel: str, message: str) -> dict[str, str]:
    """One CEL rule; the message says what to do."""
    return {"rule": cel, "message": message}


def with_rules(*rules: dict[str, str]) -> dict[str, Any]:
    """Schema extras that carry CEL rules, for a model or a field."""
    return {"x-kubernetes-validations": list(rules)}


def map_list(*keys: str) -> dict[str, Any]:
    """Schema extras of a list whose items are told apart by these keys."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def atomic_list() -> dict[str, Any]:
    """Schema extras of a list with one writer: cheaper in managedFields than a map."""
    return {"x-kubernetes-list-type": "atomic"}


def set_list() -> dict[str, Any]:
    """Schema extras of a list of distinct scalars."""
    return {"x-kubernetes-list-type": "set"}


# Defaults that the API server stores, because a column prints them or a CEL rule reads them. All others are
# left to the model, so that objects stay as their owners wrote them.
STORED = {"x-stored-default": True}

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{DNS_LABEL}$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{DNS_SUBDOMAIN}$")]
ClockMHz = Annotated[int, Field(ge=100, le=10_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]
MetricsPath = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^/[-A-Za-z0-9._~/]*$")]
Message = Annotated[str, Field(max_length=1024)]
Reason = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Z][A-Za-z0-9]*$")]
PlanId = Annotated[str, Field(min_length=1, max_length=63)]
Accelerator = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9][-A-Za-z0-9._]*$")]


class Condition(ApiModel):
    """One condition, in the shape of metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=64, description="What is judged, in PascalCase.")]
    status: Annotated[
        str, Field(pattern="^(True|False|Unknown)$", max_length=7, description="True, False or Unknown.")
    ]
    reason: Annotated[Reason, Field(description="Why, as a constant that Events, metrics and logs repeat.")]
    message: Annotated[
        str, Field(max_length=4096, description="What was seen, since when, and what to do about it.")
    ]
    observed_generation: Annotated[
        int | None, Field(default=None, ge=0, description="metadata.generation that was judged.")
    ] = None
    last_transition_time: Annotated[AwareDatetime, Field(description="When the status last changed.")]


CONDITIONS_DESCRIPTION = "What holds and what does not, one entry per type."
