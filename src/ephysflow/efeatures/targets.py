"""Targets: which feature is wanted, at which stimulus amplitude, with which eFEL settings.

A target set comes as a list (one mapping a target), in BluePyEfe's older form (one mapping a protocol), or as a
table (one row a target). All become the same tuple of `Target`.
"""

import csv
import difflib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError
from ephysflow.io.canonical import canonical_json

TARGET_KEYS = ("efeature", "protocol", "amplitude", "tolerance", "efeature_name", "efel_settings", "location")
"""Keys of one target in the list form, and columns of the table form."""

PROTOCOL_KEYS = ("amplitudes", "tolerances", "efeatures", "location")
"""Keys of one protocol in the form {protocol: {...}}."""


@dataclass(frozen=True)
class Target:
    """One feature wanted at one amplitude of one protocol.

    Attributes
    ----------
    efeature : name of the feature in eFEL
    protocol : name of the protocol, exactly as recordings have it
    amplitude : percent of the cell's rheobase; nA when amplitudes are absolute; ms between pulses for SpikeRec
    tolerance : sweeps closer to `amplitude` than this belong to the target; same unit
    efeature_name : how the feature is called in the output; `efeature` by default
    efel_settings : eFEL settings of this target alone, plain values, keys sorted
    location : recording site, for the output only
    """

    efeature: str
    protocol: str
    amplitude: int | float
    tolerance: float
    efeature_name: str = ""
    efel_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    location: str = "soma"

    def __post_init__(self) -> None:
        object.__setattr__(self, "efeature_name", self.efeature_name or self.efeature)
        object.__setattr__(self, "efel_settings", dict(sorted(self.efel_settings.items())))

    @property
    def amplitude_text(self) -> str:
        """Amplitude as it was given: 150 and 150.0 give different texts."""
        return str(self.amplitude)

    @property
    def key(self) -> str:
        """Name of the stimulus in the output files, ``<protocol>_<amplitude>``."""
        return f"{self.protocol}_{self.amplitude_text}"

    def settings_text(self, defaults: Mapping[str, Any]) -> str:
        """Canonical JSON of the settings in force: `defaults`, with this target's own over them."""
        return canonical_json({**plain_settings(defaults), **self.efel_settings})


def parse_targets(
    spec: Any, known_features: Collection[str] | None = None, source: str = "targets"
) -> tuple[Target, ...]:
    """Check a target specification and bring it into one form.

    Parameters
    ----------
    spec : list of mappings with the keys `TARGET_KEYS`; or {protocol: mapping with the keys `PROTOCOL_KEYS`},
        where ``efeatures`` is a list of names or {name: eFEL settings}; or a pandas table with the columns
        `TARGET_KEYS`. Numbers may be numpy numbers. Never changed.
    known_features : names that eFEL has; None to take any name
    source : what messages call the specification, for example its file

    Returns
    -------
    Targets in the order given; of identical ones, the first.

    Raises
    ------
    ConfigurationError
        with all problems at once, each naming the target, the key, the value and what is allowed.
    """
    problems: list[str] = []
    targets: list[Target] = []
    for where, record in _records(spec, problems):
        found: list[str] = []
        target = _target(record, known_features, found)
        problems += [f"{where}: {problem}" for problem in found]
        if target is not None and not found:
            targets.append(target)
    if problems:
        raise ConfigurationError("\n".join(f"{source}: {problem}" for problem in problems))
    return tuple(dict.fromkeys(targets))


def read_targets(path: Path, known_features: Collection[str] | None = None) -> tuple[Target, ...]:
    """Read targets from a ``.json``, ``.yaml``, ``.yml``, ``.tsv`` or ``.csv`` file; see `parse_targets`.

    In a table, an empty cell is a key not given, ``efel_settings`` is JSON, and lines that start with # are
    comments.

    Raises
    ------
    ConfigurationError
        naming the file.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".json", ".yaml", ".yml", ".tsv", ".csv"):
        raise ConfigurationError(
            f"{path}: targets must be a .json, .yaml, .yml, .tsv or .csv file, not {path.suffix!r}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        if kind == ".json":
            spec = json.loads(text)
        elif kind in (".yaml", ".yml"):
            import yaml

            spec = yaml.safe_load(text)
        else:
            spec = _read_table(text, "\t" if kind == ".tsv" else ",")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not valid {kind[1:].upper()}: {error}") from None
    except Exception as error:
        # yaml.YAMLError, which can be named only where yaml is imported
        raise ConfigurationError(f"{path}: is not valid YAML: {error}") from None
    return parse_targets(spec, known_features, source=str(path))


def plain_number(value: Any) -> int | float | None:
    """Return a finite number as int or float (numpy's too; float32 as it prints), None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    number = value if type(value) is float else float(str(value))
    return number if math.isfinite(number) else None


def plain_settings(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return eFEL settings with Python values in place of numpy's.

    Raises
    ------
    ConfigurationError
        if a value is not a finite number, a truth value or a text.
    """
    plain: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if hasattr(value, "dtype") and value.dtype == bool:
            value = bool(value)
        simple = value if isinstance(value, bool | str) else plain_number(value)
        if not isinstance(name, str) or simple is None:
            raise ConfigurationError(
                f"eFEL setting {name!r} is {value!r}; it must be a finite number, true, false or a text"
            )
        plain[name] = simple
    return plain


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the closest known one, if there is one."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _records(spec: Any, problems: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return (place in the specification, mapping in the list form) for each target."""
    if hasattr(spec, "to_dict") and hasattr(spec, "columns"):
        spec = [_given_cells(row) for row in spec.to_dict("records")]
    if isinstance(spec, Mapping):
        return [record for name, entry in spec.items() for record in _expanded(name, entry, problems)]
    if not isinstance(spec, list | tuple):
        problems.append(f"must be a list of targets or a mapping of protocols, not {type(spec).__name__}")
        return []
    records = []
    for index, record in enumerate(spec):
        if isinstance(record, Mapping):
            records.append((f"target {index}", record))
        else:
            problems.append(
                f"target {index}: must be a mapping with {', '.join(TARGET_KEYS)}, not {record!r}"
            )
    return records


def _given_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the empty cells of a table row: None, NaN, NA and empty texts."""
    return {
        key: value
        for key, value in row.items()
        if not (
            value is None or (isinstance(value, str) and not value.strip()) or str(value) in ("nan", "<NA>")
        )
    }


def _expanded(protocol: Any, entry: Any, problems: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Turn one protocol of the older form into records of the list form."""
    where = f"protocol {protocol}"
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: must be a mapping with {', '.join(PROTOCOL_KEYS)}, not {entry!r}")
        return []
    before = len(problems)
    for key in entry:
        if key not in PROTOCOL_KEYS:
            hint = unknown_name(str(key), PROTOCOL_KEYS)
            problems.append(f"{where}: unknown key {key}{hint} (allowed: {', '.join(PROTOCOL_KEYS)})")
    for key in ("amplitudes", "tolerances", "efeatures"):
        if key not in entry:
            problems.append(f"{where}: {key} is missing")
    if len(problems) > before:
        return []
    efeatures = entry["efeatures"]
    features = efeatures if isinstance(efeatures, Mapping) else _listed(efeatures)
    amplitudes, tolerances = _listed(entry["amplitudes"]), _listed(entry["tolerances"])
    if features is None or amplitudes is None or tolerances is None:
        problems.append(
            f"{where}: amplitudes, tolerances and efeatures must be lists (efeatures may map names to settings)"
        )
        return []
    if len(tolerances) == 1:
        tolerances = tolerances * len(amplitudes)
    if len(tolerances) != len(amplitudes):
        problems.append(
            f"{where}: {len(tolerances)} tolerances for {len(amplitudes)} amplitudes; give one, or one for each"
        )
        return []
    location = {"location": entry["location"]} if "location" in entry else {}
    return [
        (
            f"{where}, amplitude {amplitude}, {name}",
            {
                "efeature": name,
                "protocol": protocol,
                "amplitude": amplitude,
                "tolerance": tolerance,
                "efel_settings": (features[name] or {}) if isinstance(features, Mapping) else {},
                **location,
            },
        )
        for amplitude, tolerance in zip(amplitudes, tolerances, strict=True)
        for name in features
    ]


def _listed(value: Any) -> list[Any] | None:
    """Return a list, tuple or one-dimensional array as a list, None for anything else."""
    if isinstance(value, str | Mapping) or not hasattr(value, "__len__"):
        return None
    return list(value)


def _target(
    record: Mapping[str, Any], known_features: Collection[str] | None, problems: list[str]
) -> Target | None:
    for key in record:
        if key not in TARGET_KEYS:
            hint = unknown_name(str(key), TARGET_KEYS)
            problems.append(f"unknown key {key}{hint} (allowed: {', '.join(TARGET_KEYS)})")

    def checked(key: str, check: Callable[[Any], Any], allowed: str, default: Any = None) -> Any:
        if key not in record and default is not None:
            return default
        if key not in record:
            problems.append(f"{key} is missing; it must be {allowed}")
            return None
        value = check(record[key])
        if value is None:
            problems.append(f"{key} is {record[key]!r}; it must be {allowed}")
        return value

    efeature = checked("efeature", _text, "the name of an eFEL feature")
    if efeature and known_features is not None and efeature not in known_features:
        hint = unknown_name(efeature, known_features)
        problems.append(f"efeature is {efeature!r}, which eFEL does not have{hint}")
    protocol = checked("protocol", _text, "the name of a protocol")
    amplitude = checked("amplitude", plain_number, "a finite number")
    tolerance = checked("tolerance", plain_number, "a number above 0")
    if tolerance is not None and tolerance <= 0:
        problems.append(
            f"tolerance is {record['tolerance']!r}; it must be a number above 0 (a sweep belongs to a target when it "
            "is closer to it than the tolerance)"
        )
    name = checked("efeature_name", _text, "a text", efeature or "-")
    location = checked("location", _text, "a text", "soma")
    settings = checked("efel_settings", _settings_mapping, "a mapping of eFEL settings", {})
    if problems:
        return None
    try:
        return Target(
            efeature, protocol, amplitude, float(tolerance), name, plain_settings(settings), location
        )
    except ConfigurationError as error:
        problems.append(f"efel_settings: {error}")
        return None


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) and value.strip() else None


def _settings_mapping(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, Mapping) else None


def _read_table(text: str, delimiter: str) -> list[dict[str, Any]]:
    """Read a table of targets as records; numbers keep the form they are written in (150 or 150.0)."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        records = []
        for number, row in enumerate(rows):
            if len(row) > len(header):
                raise ConfigurationError(
                    f"target {number}: {len(row)} cells under {len(header)} column names"
                )
            record: dict[str, Any] = _given_cells(dict(zip(header, row, strict=False)))
            for key in ("amplitude", "tolerance"):
                if key in record:
                    record[key] = _number_in_text(record[key])
            records.append(record)
    except csv.Error as error:
        raise ConfigurationError(f"is not a table: {error}") from None
    return records


def _number_in_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
