"""Checking a weights file, whoever wrote it: by itself, and against the circuit, report or positions that it is for.

A problem is what makes a client fail or the numbers wrong; a remark is what one should know of a file that can be used.
Clients are neurodamus (``LFPFileReader``, 4.2), which simulates with the file, and libsonata (``ElectrodeReader``, 0.2).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ephysflow.errors import ConfigurationError, EphysflowError, SimulationError
from ephysflow.extracellular.electrode_types import parse_type
from ephysflow.extracellular.positions_file import PositionsFiles
from ephysflow.extracellular.report_sections import (
    ReportSections,
    read_report_sections,
    report_populations,
)
from ephysflow.extracellular.weights_file import COMPLETE, ELECTRODES, FACTORS, NO_UNIT, UNITS
from ephysflow.sonata import hdf5
from ephysflow.sonata.nodes import open_population
from ephysflow.sonata.simulation_config import CircuitFiles, read_circuit

BLOCK = 1 << 23
"""Coefficients that are read at a time: 64 MB of float64."""

LISTED = 5
"""Names or ids that a finding lists, of any number."""

READ_BY_LIBSONATA = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


@dataclass
class Findings:
    """What was found in a file.

    Attributes
    ----------
    problems : each makes a client fail, or numbers wrong
    remarks : of a file that can be used
    summary : what the file holds, line by line
    """

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Rows:
    """Nodes of a population and their rows, as far as they are sound."""

    name: str
    node_ids: np.ndarray
    offsets: np.ndarray

    def nodes_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the nodes that have some of these rows."""
        index = np.unique(np.searchsorted(self.offsets, rows, side="right") - 1)
        return self.node_ids[index[(index >= 0) & (index < len(self.node_ids))]]


@dataclass
class _Columns:
    """What the columns of a population hold."""

    infinite: np.ndarray
    ones: np.ndarray
    zeros: np.ndarray
    nan_rows: list[np.ndarray]
    low: float = np.inf
    high: float = -np.inf


def inspect_weights(
    path: Path, *, circuit: Path | None = None, report: Path | None = None, positions: Sequence[Path] = ()
) -> Findings:
    """Read all of a weights file and check it.

    Parameters
    ----------
    path : a SONATA electrodes file of any writer
    circuit : configuration of the circuit that will be simulated with it
    report : compartment report of that circuit (HDF5)
    positions : files of positions of ephysflow, all chunks in order: they know the types of sections

    Returns
    -------
    Findings
        Nothing is raised: a file that cannot be read is a problem, too.
    """
    found = Findings()
    populations: list[_Rows] = []
    with _noting(found), hdf5.opened(path, "weights") as file:
        _check_file(file, path, found, populations)
    if circuit is not None:
        with _noting(found):
            files = read_circuit(circuit)
            for rows in populations:
                with _noting(found):
                    _check_against_circuit(rows, files, found)
    if report is not None:
        with _noting(found):
            _check_names(populations, report_populations(report), f"report {report}", found)
            for rows in populations:
                with _noting(found):
                    _check_against_report(rows, read_report_sections(report, rows.name), report, found)
    if positions:
        with _noting(found):
            opened = PositionsFiles(positions)
            where = str(positions[0].parent)
            _check_names(populations, opened.names, f"positions {where}", found)
            for rows in populations:
                if rows.name in opened.names:
                    _check_against_positions(rows, opened, where, found)
    return found


@contextmanager
def _noting(found: Findings) -> Iterator[None]:
    """Turn an error into a problem."""
    try:
        yield
    except EphysflowError as error:
        found.problems.append(str(error))


def _check_file(file: h5py.File, path: Path, found: Findings, populations: list[_Rows]) -> None:
    if not isinstance(file.get(ELECTRODES), h5py.Group):
        found.problems.append(f"group /{ELECTRODES} is missing: neurodamus and libsonata refuse the file")
        return
    if file.attrs.get(COMPLETE, 1) != 1:
        found.problems.append(
            f"the mark {COMPLETE!r} is not set: the job that wrote it was stopped, and coefficients may be missing"
        )
    members = {name: item for name, item in file[ELECTRODES].items() if isinstance(item, h5py.Group)}
    with_nodes = [name for name in file if name != ELECTRODES and _has(file.get(name), "node_ids")]
    with_factors = [name for name, item in members.items() if FACTORS in item]
    for name in sorted({*with_nodes} - {*with_factors}):
        found.problems.append(
            f"population {name!r}: /{ELECTRODES}/{name}/{FACTORS} is missing: neurodamus finds no node, libsonata fails"
        )
    for name in sorted({*with_factors} - {*with_nodes}):
        found.problems.append(
            f"population {name!r}: /{name}/node_ids is missing: neurodamus finds no node, libsonata does not see it"
        )
    complete = [name for name in with_factors if name in with_nodes]
    if not complete:
        found.problems.append("there is no population with node ids and coefficients")
    electrodes = {name: item for name, item in members.items() if name not in with_factors}
    if not electrodes:
        found.problems.append("there are no electrodes")
    found.summary.append(f"{len(electrodes)} electrodes: {_types(electrodes)}")
    _check_electrodes(electrodes, found)
    for name in complete:
        with _noting(found):
            rows, factors = _check_rows(file, name, path, found)
            populations.append(rows)
            columns = _check_values(factors, rows, found)
            _check_columns(electrodes, name, factors, columns, found)
            _check_units(file, electrodes, name, factors, found)


def _has(item: object, name: str) -> bool:
    return isinstance(item, h5py.Group) and name in item


# --- a population -----------------------------------------------------------------------------------------------------


def _check_rows(file: h5py.File, name: str, path: Path, found: Findings) -> tuple[_Rows, h5py.Dataset]:
    """Check which rows the nodes have.

    Raises
    ------
    SimulationError
        if they cannot be told.
    """
    where = f"population {name!r}"
    node_ids, offsets = hdf5.ids(file[name], "node_ids", path), hdf5.ids(file[name], "offsets", path)
    factors = hdf5.dataset(file[ELECTRODES][name], FACTORS, hdf5.NUMBERS, 2, path)
    n_rows, n_columns = factors.shape
    if not len(node_ids) or not n_rows or not n_columns:
        raise SimulationError(
            f"{where}: {len(node_ids)} nodes and {factors.shape} coefficients: nothing is there"
        )
    if len(offsets) != len(node_ids) + 1:
        raise SimulationError(
            f"{where}: {len(offsets)} offsets for {len(node_ids)} nodes, {len(node_ids) + 1} needed: "
            "libsonata refuses the file, neurodamus takes wrong rows"
        )
    if (np.diff(offsets) < 0).any():
        node = node_ids[np.flatnonzero(np.diff(offsets) < 0)[0]]
        raise SimulationError(
            f"{where}: offsets descend at node {node}: libsonata refuses the file, neurodamus takes wrong rows"
        )
    if offsets[0] != 0 or offsets[-1] != n_rows:
        found.problems.append(
            f"{where}: offsets go from {offsets[0]} to {offsets[-1]}, but {FACTORS} has {n_rows} rows; neither "
            "neurodamus nor libsonata notices"
        )
    empty = node_ids[np.diff(offsets) == 0]
    if len(empty):
        found.problems.append(f"{where}: no rows for {_nodes(empty)}: neurodamus fails (Arg out of range)")
    sorted_ids = np.sort(node_ids)
    twice = np.unique(sorted_ids[1:][np.diff(sorted_ids) == 0])
    if len(twice):
        found.problems.append(
            f"{where}: {_nodes(twice)} in node_ids more than once: neurodamus takes the first"
        )
    elif (np.diff(node_ids) < 0).any():
        found.remarks.append(
            f"{where}: node_ids do not ascend; neurodamus and libsonata read them all the same"
        )
    for key in ("node_ids", "offsets"):
        if file[name][key].dtype != np.uint64:
            found.remarks.append(
                f"{where}: {key} is {file[name][key].dtype}, uint64 in the specification; neurodamus and libsonata read it"
            )
    filters = _filters(factors)
    if unreadable := [text for code, text in filters if code not in READ_BY_LIBSONATA]:
        found.problems.append(
            f"{where}: {FACTORS} is stored with {', '.join(unreadable)}: libsonata cannot read it, neurodamus can"
        )
    if factors.dtype.kind != "f":
        found.remarks.append(f"{where}: {FACTORS} is {factors.dtype}, floating-point in the specification")
    found.summary.append(
        f"{where}: {len(node_ids):,} nodes, {n_rows:,} compartments, {n_columns:,} columns of {factors.dtype}"
    )
    return _Rows(name, node_ids, offsets), factors


def _filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    properties = dataset.id.get_create_plist()
    filters = (properties.get_filter(i) for i in range(properties.get_nfilters()))
    return [(code, name.decode(errors="replace") or f"filter {code}") for code, _, _, name in filters]


def _check_values(factors: h5py.Dataset, rows: _Rows, found: Findings) -> _Columns:
    """Read all coefficients; NaN and infinity are problems."""
    n_rows, n_columns = factors.shape
    columns = _Columns(
        np.zeros(n_columns, dtype=np.int64),
        np.ones(n_columns, dtype=bool),
        np.ones(n_columns, dtype=bool),
        [],
    )
    for top, block in _blocks(factors):
        nan = np.isnan(block)
        if nan.any():
            columns.nan_rows.append(top + np.flatnonzero(nan.any(axis=1)))
        columns.infinite += np.isinf(block).sum(axis=0)
        columns.ones &= (block == 1).all(axis=0)
        columns.zeros &= (block == 0).all(axis=0)
        columns.low = min(columns.low, float(np.fmin.reduce(block, axis=None)))
        columns.high = max(columns.high, float(np.fmax.reduce(block, axis=None)))
    where = f"population {rows.name!r}"
    if columns.nan_rows:
        nan_rows = np.concatenate(columns.nan_rows)
        found.problems.append(
            f"{where}: NaN in {len(nan_rows):,} of {n_rows:,} rows, of {_nodes(rows.nodes_of(nan_rows))}: "
            "neurodamus uses them as they are, and their LFP is NaN"
        )
    infinite = np.flatnonzero(columns.infinite)
    if len(infinite):
        found.problems.append(
            f"{where}: {columns.infinite.sum():,} coefficients are infinite, in {_listed('column', infinite)}"
        )
    if columns.low <= columns.high:
        found.summary.append(f"{where}: coefficients from {columns.low:.6g} to {columns.high:.6g}")
    return columns


def _blocks(factors: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Give the first row and the values of some rows after the other."""
    n_rows, n_columns = factors.shape
    if n_columns > BLOCK:
        raise SimulationError(f"{factors.name}: {n_columns:,} columns; more than {BLOCK:,} are not read")
    step = BLOCK // n_columns
    if factors.chunks and step > factors.chunks[0]:
        step -= step % factors.chunks[0]
    for top in range(0, n_rows, step):
        yield top, factors[top : top + step].astype(np.float64, copy=False)


def _check_units(
    file: h5py.File, electrodes: dict[str, h5py.Group], name: str, factors: h5py.Dataset, found: Findings
) -> None:
    unit = hdf5.text_attribute(factors, "units")
    where = f"population {name!r}"
    if not unit:
        text = "no unit is given; mV/nA by the specification"
        if _is_of_bluerecording(file, name):
            text += (
                ", but BlueRecording computes PointSource and LineSource in V/nA: an LFP 1000 times too small"
            )
        found.remarks.append(f"{where}: {text}")
    elif unit not in UNITS:
        found.problems.append(f"{where}: unit {unit!r}; mV/nA by the specification, V/nA can be told")
    elif unit != UNITS[0]:
        found.remarks.append(
            f"{where}: coefficients are in {unit}, not mV/nA; neurodamus uses them as they are: the LFP is in V"
        )
    for electrode, group in electrodes.items():
        own = hdf5.text_attribute(group, "units") or unit
        if own not in (unit, NO_UNIT):
            found.problems.append(f"electrode {electrode!r}: unit {own!r}, but {factors.name} has {unit!r}")


def _is_of_bluerecording(file: h5py.File, population: str) -> bool:
    return COMPLETE not in file.attrs and {"circuit", "version"} <= {*file[population]["node_ids"].attrs}


# --- electrodes -------------------------------------------------------------------------------------------------------


def _check_electrodes(electrodes: dict[str, h5py.Group], found: Findings) -> None:
    """Check what does not depend on the population."""
    no_position, no_type = [], []
    remarks: dict[str, list[str]] = {}
    for name, group in electrodes.items():
        position = group.get("position")
        if (
            not isinstance(position, h5py.Dataset)
            or position.shape != (3,)
            or position.dtype.kind not in "iuf"
        ):
            no_position.append(name)
        elif not np.isfinite(position[()]).all():
            found.problems.append(f"electrode {name!r}: position {position[()]} is not finite")
        elif position.dtype != np.float32:
            text = f"position is {position.dtype}, float32 in the specification: libsonata warns of each on stderr"
            remarks.setdefault(text, []).append(name)
        kind = _text(group, "type")
        if kind is None:
            no_type.append(name)
        else:
            try:
                parse_type(kind, "")
            except ConfigurationError:
                remarks.setdefault(f"type {kind[:80]!r} is unknown; libsonata passes it on", []).append(name)
        for key in ("layer", "region"):
            if key in group and _text(group, key) is None:
                text = f"{key} is not a text (BlueRecording writes NA as a number); neither client reads it"
                remarks.setdefault(text, []).append(name)
    for missing, what in ((no_position, "position of 3 numbers"), (no_type, "type")):
        if missing:
            found.problems.append(f"{_listed('electrode', missing)}: no {what}: libsonata fails")
    found.remarks += [f"{_listed('electrode', names)}: {text}" for text, names in remarks.items()]


def _types(electrodes: dict[str, h5py.Group]) -> str:
    kinds = [(_text(group, "type") or "no type")[:80] for group in electrodes.values()]
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds[:1000])}
    return ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "none"


def _text(group: h5py.Group, name: str) -> str | None:
    """Return a scalar text; None where it is missing or something else."""
    found = group.get(name)
    if not isinstance(found, h5py.Dataset) or found.size != 1 or h5py.check_string_dtype(found.dtype) is None:
        return None
    return bytes(found[()] if found.shape == () else found[0]).decode(errors="replace")


def _check_columns(
    electrodes: dict[str, h5py.Group], name: str, factors: h5py.Dataset, columns: _Columns, found: Findings
) -> None:
    """Check that each electrode has a column of a population, and each column an electrode."""
    where = f"population {name!r}"
    n_columns = factors.shape[1]
    owners: dict[int, list[str]] = {}
    without, outside, in_groups = [], [], []
    for electrode, group in electrodes.items():
        item = group.get(name)
        if isinstance(item, h5py.Group):
            item = item.get("electrode_id")
            in_groups.append(electrode)
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iu" or item.size != 1:
            without.append(electrode)
            continue
        column = int(item[()] if item.shape == () else item[()].flat[0])
        if 0 <= column < n_columns:
            owners.setdefault(column, []).append(electrode)
        else:
            outside.append(electrode)
    if in_groups:
        found.remarks.append(
            f"{where}: columns of electrodes are in groups (electrode_id), as in the specification: libsonata refuses "
            "such a file, neurodamus reads it"
        )
    if without:
        found.problems.append(
            f"{where}: {_listed('electrode', without)}: no column (an integer) in /{ELECTRODES}/<electrode>/{name}: "
            "libsonata leaves such electrodes out"
        )
    if outside:
        found.problems.append(
            f"{where}: {_listed('electrode', outside)}: column outside 0..{n_columns - 1}: libsonata leaves such "
            "electrodes out"
        )
    for column, names in owners.items():
        if len(names) > 1:
            found.problems.append(
                f"{where}: column {column} belongs to {_listed('electrode', names)}; libsonata does not notice"
            )
    free = np.array([column for column in range(n_columns) if column not in owners], dtype=np.int64)
    if len(ones := free[columns.ones[free]]):
        found.remarks.append(
            f"{where}: {_listed('column', ones)} of ones, without electrode: neurodamus reports it as one more "
            "electrode, the sum of membrane currents in nA"
        )
    if len(unknown := free[~columns.ones[free]]):
        found.problems.append(
            f"{where}: {_listed('column', unknown)}: no electrode; neurodamus reports it as one all the same"
        )
    zeros = [owners[column][0] for column in np.flatnonzero(columns.zeros).tolist() if column in owners]
    if zeros:
        found.remarks.append(f"{where}: {_listed('electrode', zeros)}: all coefficients are 0")
    if _is_of_bluerecording(factors.file, name):
        _note_order(owners, where, found)


def _note_order(owners: dict[int, list[str]], where: str, found: Findings) -> None:
    """Tell of columns that BlueRecording 0.2.1 exchanges: it sorts them by name, and stores rows of the table."""
    names = [owners[column][0] for column in sorted(owners)]
    are_numbers = all(name.isdecimal() for name in names)
    ordered = sorted(names, key=int) if are_numbers else sorted(names)
    if ordered != names:
        found.remarks.append(
            f"{where}: written by BlueRecording, and its electrodes are not sorted by name: version 0.2.1 gives such "
            f"electrodes the columns of others (column 0 is most likely {ordered[0]!r}, not {names[0]!r}); compute anew"
        )


# --- against other files ----------------------------------------------------------------------------------------------


def _check_names(populations: Iterable[_Rows], known: Sequence[str], where: str, found: Findings) -> None:
    names = [rows.name for rows in populations]
    if missing := [name for name in known if name not in names]:
        found.remarks.append(f"{where} has {_listed('population', missing)}, which the weights file has not")
    for name in names:
        if name not in known:
            found.problems.append(f"population {name!r}: {where} has none of this name")


def _check_against_circuit(rows: _Rows, circuit: CircuitFiles, found: Findings) -> None:
    where = f"population {rows.name!r}"
    population = open_population(circuit, rows.name)
    beyond = rows.node_ids[rows.node_ids >= population.size]
    if len(beyond):
        found.problems.append(
            f"{where}: {_nodes(beyond)}: the circuit {circuit.config} has nodes 0..{population.size - 1} only"
        )
    if circuit.population_types.get(rows.name) in ("virtual", "point_neuron"):
        kind = circuit.population_types[rows.name]
        found.problems.append(
            f"{where}: is of type {kind} in {circuit.config}: such nodes have no compartments"
        )
    without = population.size - len(np.unique(rows.node_ids[rows.node_ids < population.size]))
    if without:
        found.remarks.append(
            f"{where}: {without:,} of the circuit's {population.size:,} nodes are not in the file: neurodamus warns of "
            "those that it simulates, and gives them no electrodes"
        )


def _check_against_report(rows: _Rows, report: ReportSections, path: Path, found: Findings) -> None:
    where = f"population {rows.name!r}"
    _check_nodes(rows, report.node_ids, f"report {path}", found)
    common, ours, _ = np.intersect1d(rows.node_ids, report.node_ids, return_indices=True)
    counts = np.diff(rows.offsets)[ours]
    in_report = np.array([report.runs_of(node).counts.sum() for node in common.tolist()], dtype=np.int64)
    _check_counts(where, common, counts, in_report, f"report {path}", found)


def _check_against_positions(rows: _Rows, positions: PositionsFiles, path: str, found: Findings) -> None:
    where = f"population {rows.name!r}"
    node_ids, offsets = positions.node_ids(rows.name), positions.offsets(rows.name)
    _check_nodes(rows, node_ids, f"positions {path}", found)
    common, ours, theirs = np.intersect1d(rows.node_ids, node_ids, return_indices=True)
    _check_counts(
        where, common, np.diff(rows.offsets)[ours], np.diff(offsets)[theirs], f"positions {path}", found
    )
    disordered = [np.empty(0, dtype=np.int64)]
    step = BLOCK // 64
    for first in range(0, int(offsets[-1]), step):
        last = min(first + step + 1, int(offsets[-1]))  # a row more, for the change between blocks
        types = positions.compartments(rows.name, first, last).section_types.astype(np.int64)
        node = np.searchsorted(offsets, np.arange(first, last), side="right") - 1
        disordered.append(node[1:][(np.diff(types) < 0) & (np.diff(node) == 0)])
    wrong = np.unique(np.concatenate(disordered))
    if len(wrong):
        found.problems.append(
            f"{where}: sections of {_nodes(node_ids[wrong])} are not in the order soma, axon, basal, apical, AIS, node, "
            "myelin: neurodamus would take rows of other sections"
        )


def _check_nodes(rows: _Rows, node_ids: np.ndarray, where: str, found: Findings) -> None:
    differences: tuple[tuple[np.ndarray, np.ndarray, Callable[[str], str]], ...] = (
        (rows.node_ids, node_ids, lambda nodes: f"{nodes}: not in {where}"),
        (node_ids, rows.node_ids, lambda nodes: f"{nodes} of {where}: not in the weights file"),
    )
    for left, right, text in differences:
        if len(only := np.setdiff1d(left, right)):
            found.problems.append(f"population {rows.name!r}: {text(_nodes(only))}")


def _check_counts(
    where: str, nodes: np.ndarray, counts: np.ndarray, expected: np.ndarray, of: str, found: Findings
) -> None:
    wrong = np.flatnonzero(counts != expected)
    if len(wrong):
        i = wrong[0]
        found.problems.append(
            f"{where}: {_nodes(nodes[wrong])}: other numbers of compartments than {of} (node {nodes[i]}: {counts[i]}, not "
            f"{expected[i]}): with too few rows neurodamus fails, with too many it takes wrong ones"
        )


def _nodes(ids: np.ndarray) -> str:
    return _listed("node", ids)


def _listed(kind: str, items: Sequence | np.ndarray) -> str:
    """Return e.g. ``nodes 3, 5, 8 and 12 more``."""
    texts = ", ".join(str(item)[:80] for item in items[:LISTED])
    more = f" and {len(items) - LISTED:,} more" if len(items) > LISTED else ""
    return f"{kind}{'s' if len(items) > 1 else ''} {texts}{more}"
