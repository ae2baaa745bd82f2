"""YAML files that hold plain data."""

from pathlib import Path
from typing import Any

import yaml

from ephysflow.errors import ConfigurationError


def read_yaml(path: Path, unique_keys: bool = False) -> Any:
    """Read a YAML or JSON file that holds plain data only.

    Parameters
    ----------
    path : of the file
    unique_keys : refuse a key that stands twice in one mapping, where YAML lets the last one win

    Raises
    ------
    ConfigurationError
        if the file is missing or is not YAML.
    """
    # libyaml's is faster, where PyYAML was built with it, and cannot be told to look for equal keys
    loader = _UniqueKeysLoader if unique_keys else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # both are safe loaders: they build plain data only
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: is nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{path}: is not YAML: {error}") from None


class _UniqueKeysLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # before merges (<<) are resolved: a mapping may override what it merges, not itself
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if (name := (key.tag, key.value)) in lines:
                    raise yaml.YAMLError(f"key {key.value!r} stands twice, in lines {lines[name]} and {line}")
                lines[name] = line
        return node
