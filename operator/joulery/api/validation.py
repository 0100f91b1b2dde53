"""What is wrong with a manifest, in words that name the field as its owner wrote it."""

from __future__ import annotations

from pydantic import ValidationError

# A manifest with more wrong than this is not mended from one message.
_SHOWN = 8


def problems_of(error: ValidationError, prefix: str = "spec") -> list[str]:
    """One line per problem, each starting with the field's path."""
    problems = []
    for detail in error.errors(include_url=False)[:_SHOWN]:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
        shown = "" if detail["type"] == "missing" else f", got {_short(detail['input'])}"
        said = detail["msg"]
        problems.append(f"{prefix}{path}: {said[:1].lower()}{said[1:]}{shown}")
    return problems


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
