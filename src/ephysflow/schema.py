"""A configuration against its JSON schema: what is wrong with it, and its defaults."""

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any


def problems(config: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return everything in which a configuration differs from its JSON schema, one line each, by place."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = []
    for error in sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda e: list(map(str, e.path))
    ):
        if error.context and error.validator == "oneOf":
            error = best_match([error]) or error
        where = ".".join(str(part) for part in error.absolute_path)
        if error.validator == "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key in sorted(set(error.instance) - set(known), key=str):
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                place = f"{where}.{key}" if where else str(key)
                found.append(f"{place}: unknown key{hint} (known here: {', '.join(known)})")
        elif error.validator == "not":  # a key of another tool: its description says what to do instead
            found.append(f"{where}: {error.schema['description']}")
        else:
            allowed = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
            found.append(
                f"{where or 'top level'}: {error.message}" + (f" ({allowed.strip()})" if allowed else "")
            )
    return found + list(_not_finite(config, ""))


def _not_finite(value: Any, where: str) -> Iterator[str]:
    """Yield the places of infinity and NaN, which YAML has and no setting may be."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _not_finite(item, f"{where}.{i}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: {value} is not a finite number"


def with_defaults(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """Return a copy of `value` in which absent properties have the defaults of their schema."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        completed = {
            key: with_defaults(item, properties.get(key, extra if isinstance(extra, dict) else {}), root)
            for key, item in value.items()
        }
        for key, sub in properties.items():
            if key not in completed and "default" in sub:
                completed[key] = with_defaults(sub["default"], sub, root)
        return completed
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {}), root) for item in value]
    return value
