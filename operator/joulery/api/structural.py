"""A pydantic JSON schema as the structural schema that the API server accepts.

References are put in place, `X | None` becomes X, defaults move into the description (they are stored only
where a column or a CEL rule reads them), and what is not structural fails here rather than at the server.
"""

from __future__ import annotations

from typing import Any

from joulery.api.v1alpha1.common import ApiModel
from joulery.errors import ConfigError

_DROPPED = frozenset({"title", "discriminator", "default", "x-stored-default", "additionalProperties"})
_INT32_MAXIMUM = 2**31 - 1

Schema = dict[str, Any]


def object_schema(model: type[ApiModel], *, spec: bool) -> Schema:
    """The structural schema of a model. Spec fields say whether they are required or what their default is.

    Raises:
        ConfigError: a model that no structural schema can express, or an optional spec field without a
        default in
            words.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(schema.get("$defs", {}), spec).convert(schema, (model.__name__,))


class _Converter:
    """One model's conversion; `path` names where in it we are, and stops at recursion."""

    def __init__(self, definitions: dict[str, Schema], spec: bool) -> None:
        self._definitions = definitions
        self._spec = spec

    def convert(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        schema = self._without_null(self._resolved(schema, path), path)
        if len(path) > 32:
            raise ConfigError(f"{'.'.join(path)}: a recursive model has no structural schema")
        if "prefixItems" in schema or schema.get("uniqueItems"):
            raise ConfigError(f"{'.'.join(path)}: tuples of fixed shape and sets have no structural schema")
        converted = {k: v for k, v in schema.items() if k not in _DROPPED and k != "$defs"}
        self._constants(converted)
        self._bounds(converted)
        if "properties" in schema:
            converted["properties"] = {
                name: self._property(name, part, name in schema.get("required", ()), path)
                for name, part in schema["properties"].items()
            }
        elif isinstance(schema.get("additionalProperties"), dict):
            converted["additionalProperties"] = self.convert(schema["additionalProperties"], (*path, "*"))
        if "items" in schema:
            converted["items"] = self.convert(schema["items"], (*path, "[]"))
        return converted

    def _property(self, name: str, part: Schema, required: bool, path: tuple[str, ...]) -> Schema:
        where = (*path, name)
        converted = self.convert(part, where)
        own = self._resolved(part, where)
        description = part.get("description") or converted.get("description")
        if not description:
            raise ConfigError(f"{'.'.join(where)}: a field needs a description")
        converted["description"] = description
        if self._spec:
            converted["description"] += self._default_text(own, description, required, where)
        if own.get("x-stored-default"):
            converted["default"] = own["default"]
        return converted

    def _default_text(self, part: Schema, description: str, required: bool, where: tuple[str, ...]) -> str:
        if required:
            return " Required."
        if "Default:" in description:
            return ""
        default = part.get("default")
        if default is None or isinstance(default, dict):
            raise ConfigError(f"{'.'.join(where)}: an optional field says its default in words")
        shown = ", ".join(map(str, default)) if isinstance(default, list) else default
        return f" Default: {shown}."

    def _resolved(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        while "$ref" in schema:
            if len(path) > 32:
                raise ConfigError(f"{'.'.join(path)}: a recursive model has no structural schema")
            beside = {k: v for k, v in schema.items() if k != "$ref"}
            schema = {**self._definitions[schema["$ref"].removeprefix("#/$defs/")], **beside}
        return schema

    def _without_null(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        if "anyOf" not in schema:
            return schema
        options = [o for o in schema["anyOf"] if o.get("type") != "null"]
        if len(options) != 1:
            raise ConfigError(f"{'.'.join(path)}: a union of types has no structural schema")
        beside = {k: v for k, v in schema.items() if k != "anyOf"}
        return {**self._resolved(options[0], path), **beside}

    @staticmethod
    def _constants(schema: Schema) -> None:
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]

    @staticmethod
    def _bounds(schema: Schema) -> None:
        for side in ("Minimum", "Maximum"):
            if (limit := schema.pop(f"exclusive{side}", None)) is not None:
                schema[side.lower()], schema[f"exclusive{side}"] = limit, True
        if schema.get("type") == "integer":
            schema["format"] = "int32" if schema.get("maximum", 2**63) <= _INT32_MAXIMUM else "int64"
