"""Older analysis configurations of BlueETL, brought to version 4.

The steps are those of BlueETL's documentation (pages "Migration": 0.1.x to 0.2.x, 0.2.x to 0.3.x, 0.8.x to 0.9.x, and
its changelog). What these do not tell of is refused, or kept as it is for the check of the result to find.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ephysflow.errors import ConfigurationError

NEWEST = 4
_KNOWN_AT_TOP = (
    "version",
    "simulation_campaign",
    "output",
    "simulations_filter",
    "simulations_filter_in_memory",
    "analysis",
    "custom",
)
_CLASS_KEYS = {
    "$query": "query",
    "$target": "node_set",
    "target": "node_set",
    "$limit": "limit",
    "$gids": "node_id",
}
"""Keys of a neuron class in version 2 and their names since; any other is a property that is queried."""


def version_of(content: Any) -> int:
    """Return the version of an analysis configuration; the first had no key for it.

    Raises
    ------
    ConfigurationError
        if it is none.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"must be a mapping of keys; given: {type(content).__name__}")
    if "version" not in content:
        if "extraction" in content:
            return 1
        raise ConfigurationError(
            "version: missing, and no section 'extraction' at the top, as version 1 has it: what this is cannot be told"
        )
    version = content["version"]
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= NEWEST:
        raise ConfigurationError(f"version: {version!r}: allowed are 1 to {NEWEST}")
    return version


def migrate(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an analysis configuration of version 1, 2 or 3 as one of version 4.

    Parameters
    ----------
    content : the older configuration; not changed

    Raises
    ------
    ConfigurationError
        if it is of version 4 already, or holds what no documented step tells how to bring over.
    """
    version = version_of(content)
    if version == NEWEST:
        raise ConfigurationError(f"version: {NEWEST} already, nothing to migrate")
    migrated = copy.deepcopy(dict(content))
    for step in _STEPS[version - 1 :]:
        migrated = step(migrated)
    migrated.pop("version", None)
    return {"version": NEWEST, **migrated}


def in_documented_order(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return `value` with its keys in the order of a schema.

    Labels and parameters keep theirs: the order of ``params_product`` numbers the tables, that of the neuron classes
    decides what is drawn.
    """
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return in_documented_order(value, target, root)
    if isinstance(value, list):
        return [in_documented_order(item, schema.get("items", {}), root) for item in value]
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties") or {}
    others = others.get("else", others)
    ordered = [*(key for key in properties if key in value), *(key for key in value if key not in properties)]
    return {key: in_documented_order(value[key], properties.get(key, others), root) for key in ordered}


def _to_version_2(content: dict[str, Any]) -> dict[str, Any]:
    extraction = _mapping(content.pop("extraction", None), "extraction")
    analysis = _mapping(content.pop("analysis", {}), "analysis")
    spikes: dict[str, Any] = {"extraction": {"report": {"type": "spikes"}, **extraction}}
    if "features" in analysis:
        spikes["features"] = analysis.pop("features")
    if analysis:
        spikes["custom"] = analysis
    for label, choice in _mapping(extraction.get("neuron_classes", {}), "extraction.neuron_classes").items():
        if isinstance(choice, dict) and "gid" in choice:
            choice["$gids"] = choice.pop("gid")
        elif isinstance(choice, list) and any(isinstance(part, Mapping) and "gid" in part for part in choice):
            raise ConfigurationError(
                f"extraction.neuron_classes.{label}: gid in a list of queries cannot be brought over"
            )
    custom = _mapping(content.get("custom", {}), "custom")
    custom |= {key: value for key, value in content.items() if key not in _KNOWN_AT_TOP}
    migrated = {key: value for key, value in content.items() if key in _KNOWN_AT_TOP and key != "custom"}
    migrated["analysis"] = {"spikes": spikes}
    return {**migrated, "custom": custom} if custom else migrated


def _to_version_3(content: dict[str, Any]) -> dict[str, Any]:
    for name, analysis in _mapping(content.get("analysis"), "analysis").items():
        where = f"analysis.{name}.extraction"
        extraction = _mapping(_mapping(analysis, f"analysis.{name}").get("extraction"), where)
        for key in ("$target", "target", "$limit"):
            _rename(extraction, key, _CLASS_KEYS[key], where)
        classes = _mapping(extraction.get("neuron_classes", {}), f"{where}.neuron_classes")
        for label, choice in classes.items():
            classes[label] = _class_of_version_3(choice, f"{where}.neuron_classes.{label}")
        steps = _mapping(extraction.get("trial_steps") or {}, f"{where}.trial_steps")
        for label, step in steps.items():
            for key in ("$target", "target", "$limit"):
                own = f"{where}.trial_steps.{label}"
                _rename(_mapping(step, own), key, _CLASS_KEYS[key], own)
    return content


def _class_of_version_3(choice: Any, where: str) -> dict[str, Any]:
    if isinstance(choice, list):
        for part in choice:
            if special := [key for key in _mapping(part, where) if str(key).startswith("$")]:
                raise ConfigurationError(f"{where}: {special[0]} in a list of queries cannot be brought over")
        return {"query": choice}
    given = _mapping(choice, where)
    migrated: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for key, value in given.items():
        if key in _CLASS_KEYS:
            if _CLASS_KEYS[key] in migrated:
                raise ConfigurationError(f"{where}: {_CLASS_KEYS[key]} is there under two names")
            migrated[_CLASS_KEYS[key]] = value
        elif str(key).startswith("$"):
            raise ConfigurationError(
                f"{where}: {key!r} is unknown (known: {', '.join(k for k in _CLASS_KEYS if k[0] == '$')})"
            )
        else:
            properties[key] = value
    if properties and "query" in migrated:
        raise ConfigurationError(f"{where}: $query and {', '.join(map(str, properties))} exclude each other")
    return {"query": properties, **migrated} if properties else migrated


def _to_version_4(content: dict[str, Any]) -> dict[str, Any]:
    if "output" in content or "clear_cache" in content:
        if "cache" in content:
            raise ConfigurationError("cache: excludes output and clear_cache, its older names")
        cache = {"path": content.get("output"), "clear": content.get("clear_cache")}
        kept = {key: value for key, value in cache.items() if value is not None}
        place = "output" if "output" in content else "clear_cache"
        content = {("cache" if key == place else key): value for key, value in content.items()}
        content.pop("clear_cache", None)
        content["cache"] = kept
    return content


_STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    _to_version_2,
    _to_version_3,
    _to_version_4,
)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: must be a mapping of keys; given: {value!r}")
    return value


def _rename(holder: dict[str, Any], old: str, new: str, where: str) -> None:
    if old in holder:
        if new in holder:
            raise ConfigurationError(f"{where}: {old} and {new} exclude each other")
        holder[new] = holder.pop(old)
