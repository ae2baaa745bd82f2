"""From arrays of the configuration, and their tables, to electrodes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError
from ephysflow.extracellular.electrode_table import NORMAL, SMALLEST, TableRow, read_electrode_table
from ephysflow.extracellular.electrode_types import (
    ANALYTIC,
    DEFAULT_RADIUS,
    FIELD_BASED,
    ElectrodeType,
    parse_type,
)
from ephysflow.extracellular.electrodes import Electrode, Slice

DEFAULT_SIGMA = 0.277
"""Conductivity of cortex [S/m], BlueRecording's default."""

DEFAULT_CONTACT_POINTS = 50
DEFAULT_IMAGES = 20

ANALYTIC_SETTINGS = ("sigma", "minimum_distance", "cutoff", "contact", "slice")
FIELD_SETTINGS = ("field", "field_unit", "outside_field")
CSD_SETTINGS = ("objective_csd_array_indices",)
"""Settings of an array with a meaning for some of the methods only."""

ANALYTIC_COLUMNS = (
    *("sigma", "sigma_x", "sigma_y", "sigma_z", "minimum_distance", "cutoff", "contact_radius"),
    *NORMAL,
)
"""Columns with a meaning for PointSource and LineSource only."""

RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")


def resolve_electrodes(arrays: Mapping[str, Mapping[str, Any]], where: str) -> list[Electrode]:
    """Return the electrodes of all arrays, in the order of the columns of the weights file.

    Parameters
    ----------
    arrays : name -> settings (see ``array`` in ``schemas/config.schema.yaml``), with usable paths
    where : file and key, for messages

    Raises
    ------
    ConfigurationError
        if a table is wrong, a setting does not fit, or a name is there twice.
    """
    electrodes: list[Electrode] = []
    for name, array in arrays.items():
        rows = read_electrode_table(Path(array["electrodes"]))
        electrodes += _of_array(name, array, rows, f"{where}: arrays.{name}")
    known: dict[str, Electrode] = {}
    for electrode in electrodes:
        if electrode.name in known:
            raise ConfigurationError(
                f"{where}: arrays {known[electrode.name].array} and {electrode.array} both have an electrode "
                f"{electrode.name!r}; names must differ in a file"
            )
        known[electrode.name] = electrode
    for electrode in electrodes:
        _check_reference(electrode, known, f"{where}: arrays.{electrode.array}")
    return electrodes


def check_population_names(electrodes: Iterable[Electrode], populations: Sequence[str]) -> None:
    """Check that no electrode is named like a population: both are groups of the same name in the file.

    Raises
    ------
    ConfigurationError
        naming the electrode.
    """
    for electrode in electrodes:
        if electrode.name in populations:
            raise ConfigurationError(
                f"electrode {electrode.name!r} (array {electrode.array}) is named like a population of nodes; "
                "both would be /electrodes/<name> in the file: rename the electrode"
            )


def _check_reference(electrode: Electrode, known: Mapping[str, Electrode], where: str) -> None:
    for name in electrode.reference:
        if name not in known:
            raise ConfigurationError(
                f"{where}: reference: there is no electrode {name!r}, which {electrode.name!r} names"
            )
        if known[name].has_unit != electrode.has_unit:
            raise ConfigurationError(
                f"{where}: reference: {name!r} ({known[name].type}) cannot be subtracted from {electrode.name!r} "
                f"({electrode.type}): one is in mV/nA, the other without a unit"
            )


def _of_array(name: str, array: Mapping[str, Any], rows: Sequence[TableRow], where: str) -> list[Electrode]:
    default = array.get("type", "LineSource")
    texts = [row.texts.get("type", default) for row in rows]
    types = [
        parse_type(text, f"{array['electrodes']}: line {row.line}" if "type" in row.texts else where)
        for text, row in zip(texts, rows, strict=True)
    ]
    _check_meaning(array, types, where)
    sigmas = _of_each(array.get("sigma", DEFAULT_SIGMA), types, ANALYTIC, f"{where}: sigma")
    fields = _of_each(array.get("field"), types, FIELD_BASED, f"{where}: field")
    csd_arrays = _csd_arrays(name, array, texts, types, where)
    return [
        _electrode(name, array, row, text, kind, sigma, field, csd_array)
        for row, text, kind, sigma, field, csd_array in zip(
            rows, texts, types, sigmas, fields, csd_arrays, strict=True
        )
    ]


def _check_meaning(array: Mapping[str, Any], types: Sequence[ElectrodeType], where: str) -> None:
    """Refuse settings that no electrode of the array has a use for."""
    methods = {kind.method for kind in types}
    for keys, users, names in (
        (ANALYTIC_SETTINGS, ANALYTIC, " or ".join(ANALYTIC)),
        (FIELD_SETTINGS, FIELD_BASED, " or ".join(FIELD_BASED)),
        (CSD_SETTINGS, tuple(DEFAULT_RADIUS), "ObjectiveCSD"),
    ):
        if methods.isdisjoint(users) and (useless := [key for key in keys if key in array]):
            raise ConfigurationError(
                f"{where}: {useless[0]}: has no meaning here, as no electrode of {array['electrodes']} is of type {names}"
            )


def _of_each(given: Any, types: Sequence[ElectrodeType], methods: Sequence[str], where: str) -> list[Any]:
    """Return the value for each electrode; a list has one for each electrode with one of the methods, in order."""
    if not isinstance(given, list):
        return [given] * len(types)
    places = [i for i, kind in enumerate(types) if kind.method in methods]
    if len(given) not in (1, len(places)):
        raise ConfigurationError(
            f"{where}: has {len(given)} values for {len(places)} electrodes ({' or '.join(methods)}); "
            "allowed is one for all, or one for each in the order of the table"
        )
    values: list[Any] = [None] * len(types)
    for k, i in enumerate(places):
        values[i] = given[k if len(given) > 1 else 0]
    return values


def _electrode(
    array_name: str,
    array: Mapping[str, Any],
    row: TableRow,
    text: str,
    kind: ElectrodeType,
    sigma: Any,
    field: str | None,
    csd_array: str | None,
) -> Electrode:
    where = f"{array['electrodes']}: line {row.line} (electrode {row.name!r})"
    common: dict[str, Any] = {
        "name": row.name,
        "array": array_name,
        "position": row.position,
        "layer": row.texts.get("layer", "NA"),
        "region": row.texts.get("region", "NA"),
        "type": text,
        "method": kind.method,
        "reference": _reference(row, array),
    }
    if kind.method not in ANALYTIC and (useless := [c for c in ANALYTIC_COLUMNS if c in row.numbers]):
        raise ConfigurationError(
            f"{where}: column {useless[0]}: has no meaning for type {text}, only for {' and '.join(ANALYTIC)}"
        )
    if kind.method not in FIELD_BASED and "field" in row.texts:
        raise ConfigurationError(
            f"{where}: column field: has no meaning for type {text}, only for {' and '.join(FIELD_BASED)}"
        )
    if csd_array is None and (useless := [c for c in ("radius", "thickness") if c in row.numbers]):
        raise ConfigurationError(
            f"{where}: column {useless[0]}: has no meaning for type {text}, only for ObjectiveCSD"
        )
    if kind.method in ANALYTIC:
        return Electrode(**common, **_analytic_settings(row, array, sigma, where))
    if kind.method in FIELD_BASED:
        return Electrode(**common, **_field_settings(row, array, field, where))
    for column, method in (("radius", "Plane"), ("thickness", "Sphere")):
        if column in row.numbers and kind.method == method:
            raise ConfigurationError(f"{where}: column {column}: has no meaning for type {text}")
    radius, thickness = row.numbers.get("radius", kind.radius), row.numbers.get("thickness", kind.thickness)
    return Electrode(**common, radius=radius, thickness=thickness, csd_array=csd_array)


def _analytic_settings(row: TableRow, array: Mapping[str, Any], sigma: Any, where: str) -> dict[str, Any]:
    numbers = row.numbers
    contact, normal = array.get("contact", {}), None
    radius = numbers.get("contact_radius", contact.get("radius"))
    if radius is not None:
        parts = [numbers[key] for key in NORMAL if key in numbers]
        normal = tuple(map(float, parts or contact.get("normal", ())))
        if len(normal) != 3 or max(map(abs, normal)) < SMALLEST:
            raise ConfigurationError(
                f"{where}: a contact with a radius needs its normal, a direction that is not 0 0 0 (columns normal_x, "
                "normal_y, normal_z, or contact.normal of the array)"
            )
    given = array.get("slice")
    conductivity = _sigma(numbers, sigma, where)
    if given is not None:
        if given["bottom"] >= given["top"]:
            raise ConfigurationError(
                f"{where}: slice: bottom {given['bottom']} must be below top {given['top']}"
            )
        if not given["bottom"] <= row.position[2] <= given["top"]:
            raise ConfigurationError(
                f"{where}: z {row.position[2]} is outside its slice ({given['bottom']} to {given['top']})"
            )
        if len(set(conductivity)) > 1:
            raise ConfigurationError(
                f"{where}: slice: the method of images needs the same sigma in all directions"
            )
    return {
        "sigma": conductivity,
        "minimum_distance": numbers.get("minimum_distance", array.get("minimum_distance")),
        "cutoff": numbers.get("cutoff", array.get("cutoff")),
        "contact_radius": radius,
        "contact_normal": normal,
        "contact_points": contact.get("points", DEFAULT_CONTACT_POINTS) if radius is not None else 1,
        "slice": None if given is None else Slice(**{"images": DEFAULT_IMAGES, **given}),
    }


def _sigma(numbers: Mapping[str, float], given: Any, where: str) -> tuple[float, float, float]:
    along = [numbers[key] for key in ("sigma_x", "sigma_y", "sigma_z") if key in numbers]
    if along:
        if len(along) < 3 or "sigma" in numbers:
            raise ConfigurationError(f"{where}: give either sigma, or sigma_x, sigma_y and sigma_z")
        x, y, z = along
        return x, y, z
    given = numbers.get("sigma", given)
    if isinstance(given, Mapping):
        return float(given["x"]), float(given["y"]), float(given["z"])
    return float(given), float(given), float(given)


def _field_settings(row: TableRow, array: Mapping[str, Any], field: str | None, where: str) -> dict[str, Any]:
    # a file that a table names is beside the table
    field = str(Path(array["electrodes"]).parent / row.texts["field"]) if "field" in row.texts else field
    if field is None:
        raise ConfigurationError(f"{where}: needs a field file (column field, or field of the array)")
    if "field_unit" not in array:
        raise ConfigurationError(
            f"{where}: field_unit of the array is missing: V/nA, mV/nA or V/A, the unit of the potential in the field "
            "file divided by its current"
        )
    return {
        "field": field,
        "field_unit": array["field_unit"],
        "outside_field": array.get("outside_field", "refuse"),
    }


def _reference(row: TableRow, array: Mapping[str, Any]) -> tuple[str, ...]:
    if "reference" in row.texts:
        return (row.texts["reference"],)
    given = array.get("reference", ())
    return (given,) if isinstance(given, str) else tuple(given)


def _csd_arrays(
    name: str, array: Mapping[str, Any], texts: Sequence[str], types: Sequence[ElectrodeType], where: str
) -> list[str | None]:
    """Return for each electrode which others it forms an array with; None where the method is not ObjectiveCSD."""
    is_csd = [kind.method not in ANALYTIC + FIELD_BASED for kind in types]
    ranges = _ranges(array.get("objective_csd_array_indices", ()), len(types), where)
    found: list[str | None] = []
    for i, (text, csd) in enumerate(zip(texts, is_csd, strict=True)):
        inside = next((k for k, part in enumerate(ranges) if i in part), None)
        if inside is not None and not csd:
            raise ConfigurationError(
                f"{where}: objective_csd_array_indices: row {i} is of type {text}, not ObjectiveCSD"
            )
        if csd and ranges and inside is None:
            raise ConfigurationError(
                f"{where}: objective_csd_array_indices: row {i} ({text}) is in none of the arrays"
            )
        found.append(None if not csd else f"{name}/{text}" if inside is None else f"{name}/{inside}")
    return found


def _ranges(given: Sequence[str], n_rows: int, where: str) -> list[range]:
    ranges: list[range] = []
    for text in given:
        match = RANGE.fullmatch(text.strip())
        part = range(int(match[1]), int(match[2])) if match else range(0)
        after = ranges[-1].stop if ranges else 0
        if not part or part.start < after or part.stop > n_rows:
            raise ConfigurationError(
                f"{where}: objective_csd_array_indices: {text!r} must be start:stop, rows {after} to {n_rows} of the "
                "table, one array after the other"
            )
        ranges.append(part)
    return ranges
