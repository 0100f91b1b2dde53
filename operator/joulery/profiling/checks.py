"""What is wrong with an EnergyProfile, with field and cure: its schema, its numbers, and the curves that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from joulery.api.structural import object_schema
from joulery.api.v1alpha1.energy_profile import EnergyProfileSpec
from joulery.api.validation import problems_of
from joulery.errors import ProfileError
from joulery.profiling.changed_parameters import changed
from joulery.profiling.files import Manifest
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

_ENDS = ("low", "value", "high")
# Last part of a field's path, and how it is mended.
_CURES: Mapping[str, str] = {
    "source": "say where the value comes from: publication, table or measurement",
    "grade": "say Measured, Interpolated or Assumed",
    "low": "state the plausible range as low and high, in the unit of the parameter's name",
    "high": "state the plausible range as low and high, in the unit of the parameter's name",
    "value": "write it in the unit of the parameter's name, without a unit beside it",
}
_WHERE: Mapping[str, str] = {
    "value": "",
    "low": ", every parameter at its low end",
    "high": ", every parameter at its high end",
}
_PLAIN_CURE = "see kubectl explain energyprofiles.spec"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field, or with the profile at one point, and how it is mended."""

    place: str
    text: str
    cure: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}; {self.cure}"


def problems_in(manifest: Manifest) -> tuple[Problem, ...]:
    """All that keeps a profile from being used; empty where nothing does."""
    found: dict[str, Problem] = {}
    for problem in (
        *_unknown_fields(manifest.spec, object_schema(EnergyProfileSpec, spec=True), "spec"),
        *_bad_numbers(manifest.spec, "spec"),
        *_schema_problems(manifest.spec),
    ):
        found.setdefault(problem.place, problem)
    # Curves of numbers that are refused already would only say it again; a clock response shows in them alone.
    if all("clockResponse" in place for place in found):
        found |= {p.place: p for p in _curve_problems(manifest)}
    return tuple(found.values())


def _schema_problems(spec: Mapping[str, object]) -> Iterator[Problem]:
    try:
        EnergyProfileSpec.model_validate(spec)
    except ValidationError as error:
        lines = [line.partition(": ") for line in problems_of(error)]
        places = [place for place, _, _ in lines]
        for place, _, text in lines:
            # A list is said to be short of the item that its own problem keeps out.
            if not any(other.startswith(f"{place}[") for other in places):
                yield Problem(place, text, _CURES.get(place.rpartition(".")[2], _PLAIN_CURE))


def _unknown_fields(value: object, schema: Mapping[str, object], place: str) -> Iterator[Problem]:
    """Fields that the API server would refuse; where one looks like a known one, its unit is what is wrong."""
    for where, part, known in _parts(value, schema, place):
        name = where.rpartition(".")[2]
        if known is not None:
            yield from _unknown_fields(part, known, where)
            continue
        names = list(_properties(schema))
        stem = name.lower()[:8]
        alike = [n for n in names if n.lower().startswith(stem)] if len(stem) > 2 else []
        cure = f"write {alike[0]}, in that unit" if alike else f"remove it; known are {', '.join(names)}"
        yield Problem(where, "unknown field, or no unit in its name" if alike else "unknown field", cure)


def _parts(
    value: object, schema: Mapping[str, object], place: str
) -> Iterator[tuple[str, object, Mapping[str, object] | None]]:
    """Path, content and schema of each part of a value; no schema where the part is unknown."""
    if isinstance(value, Mapping) and (properties := _properties(schema)):
        for name, part in value.items():
            yield f"{place}.{name}", part, properties.get(str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = schema.get("items")
        if isinstance(items, Mapping):
            yield from ((f"{place}[{i}]", part, items) for i, part in enumerate(value))


def _properties(schema: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _bad_numbers(value: object, place: str) -> Iterator[Problem]:
    """Negative numbers, empty sources, and values outside of their range, wherever there is a parameter."""
    if isinstance(value, Mapping):
        if all(end in value for end in _ENDS):
            yield from _bad_parameter(value, place)
            return
        for name, part in value.items():
            yield from _bad_numbers(part, f"{place}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for i, part in enumerate(value):
            yield from _bad_numbers(part, f"{place}[{i}]")


def _bad_parameter(parameter: Mapping[str, object], place: str) -> Iterator[Problem]:
    source = parameter.get("source")
    if isinstance(source, str) and not source.strip():
        yield Problem(f"{place}.source", "is empty", _CURES["source"])
    numbers = {end: _number(parameter[end]) for end in _ENDS}
    low, value, high = (numbers[end] for end in _ENDS)
    for end, number in numbers.items():
        # A negative clock response shows in the curves, where its clock can be named.
        if number is not None and number < 0 and "clockResponse" not in place:
            yield Problem(f"{place}.{end}", f"{number:g} is negative", "watts and times are at least 0")
    if low is not None and value is not None and high is not None and not low <= value <= high:
        yield Problem(
            f"{place}.value",
            f"{value:g} is outside low..high {low:g}..{high:g}",
            "correct it or widen its range",
        )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _curve_problems(manifest: Manifest) -> Iterator[Problem]:
    """What the serving model refuses with every parameter at its value, at its low and at its high end."""
    try:
        profile = profile_from_spec(manifest.spec, name=manifest.name)
    except ProfileError as error:
        field, _, text = str(error).partition(" ")
        yield Problem(f"spec.{field}", text, _PLAIN_CURE)
        return
    seen: set[str] = set()
    for end, where in _WHERE.items():
        for text in _at_end(profile, end).validate():
            place, _, said = text.partition(": ")
            if place not in seen:
                seen.add(place)
                yield Problem(f"spec.{place}{where}", said or "cannot be planned with", _cure_of(said))


def _cure_of(text: str) -> str:
    if "throughput falls" in text:
        return "more clock is never slower: correct clockResponse.bandwidthSlope and bandwidthKnee"
    if "below idle" in text:
        return "no work draws less than idle: correct that power, idleLoadedMilliwatts or clockResponse"
    if "KV cache" in text:
        return "correct weightBytes, kvBytesPerToken, memoryBytes, or drop the size"
    return "correct the field"


def _at_end(profile: EngineProfile, end: str) -> EngineProfile:
    """The profile with every parameter at one end of its range."""
    accelerators = {
        name: changed(known, lambda _, parameter: parameter.moved(getattr(parameter, end)))
        for name, known in profile.accelerators.items()
    }
    return replace(profile, accelerators=accelerators)
