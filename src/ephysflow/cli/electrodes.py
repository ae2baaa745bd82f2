"""``ephysflow electrodes``: make the table of a probe's contacts; check a weights file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from ephysflow.extracellular.probes import Probe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of both actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "write the table (CSV) of a probe's contacts, placed in a circuit"
    _add_make_arguments(actions.add_parser("make", help=text, description=text))
    text = "check a weights file, whoever wrote it"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("file", type=Path, help="SONATA electrodes file (HDF5)")
    check.add_argument("--circuit", type=Path, help="configuration of the circuit that it is for")
    check.add_argument("--report", type=Path, help="compartment report of that circuit (HDF5)")
    check.add_argument(
        "--positions", type=Path, nargs="+", default=[], help="files of positions of ephysflow, all chunks"
    )


def _add_make_arguments(make: argparse.ArgumentParser) -> None:
    make.add_argument("table", metavar="OUT.csv", type=Path, help="where to write")
    make.add_argument(
        "--probe", required=True, help="JSON file of probeinterface, or part of Neuropixels, e.g. NP1000"
    )
    make.add_argument(
        "--contacts",
        help="N: the first N; START:STOP: a range; channels: those wired to a channel (default: all)",
    )
    xyz = ("X", "Y", "Z")
    make.add_argument("--tip", nargs=3, type=float, metavar=xyz, help="where the tip is [um]")
    make.add_argument(
        "--direction",
        nargs=3,
        type=float,
        metavar=xyz,
        help="from the tip to the base, against the insertion; with --circuit the side that the base is on",
    )
    make.add_argument(
        "--twist",
        type=float,
        default=0.0,
        help="rotation about the direction [degrees]; at 0 contacts look along +z as far as they can",
    )
    make.add_argument(
        "--circuit",
        type=Path,
        help="circuit configuration: place along the main axis of somata, at their mean",
    )
    make.add_argument("--population", help="whose somata")
    make.add_argument("--node-set", help="only these of its nodes")
    make.add_argument("--type", default="LineSource", help="type of the electrodes (default: %(default)s)")
    make.add_argument("--prefix", default="", help="text before the contacts' names")
    make.add_argument("--atlas", type=Path, help="voxel atlas (NRRD): region and layer of each contact")
    make.add_argument("--hierarchy", type=Path, help="acronyms of the atlas's numbers (JSON)")


def run(arguments: argparse.Namespace) -> int:
    """Run one action; exit status 1 when a checked file has a problem."""
    return _make(arguments) if arguments.action == "make" else _check(arguments)


def _make(arguments: argparse.Namespace) -> int:
    """Write the table; an existing file is never replaced."""
    from ephysflow.errors import ConfigurationError
    from ephysflow.extracellular.atlas import region_and_layer
    from ephysflow.extracellular.electrode_table import NORMAL, TableRow, write_electrode_table
    from ephysflow.extracellular.electrode_types import ANALYTIC, parse_type
    from ephysflow.extracellular.probes import read_probe

    if arguments.table.exists():
        raise ConfigurationError(f"{arguments.table} is already there; name another file or move it")
    if arguments.hierarchy is not None and arguments.atlas is None:
        raise ConfigurationError("--hierarchy names the regions of an atlas; give --atlas, too")
    method = parse_type(arguments.type, "--type").method
    probe = read_probe(arguments.probe, arguments.contacts)
    positions, normals, how = _placed(arguments, probe)
    regions = region_and_layer(positions, arguments.atlas, arguments.hierarchy)
    rows = []
    for i, name in enumerate(probe.names):
        region, layer = regions[i]
        x, y, z = (float(value) for value in positions[i].round(6) + 0.0)
        texts = {"layer": layer, "region": region, "type": arguments.type}
        # only these can have a finite contact, whose normal the table then knows
        looks = normals[i].round(9) + 0.0 if method in ANALYTIC else ()
        numbers = {key: float(value) for key, value in zip(NORMAL, looks, strict=False)}
        rows.append(TableRow(arguments.prefix + name, i + 2, (x, y, z), texts, numbers))
    write_electrode_table(arguments.table, rows)
    print(f"{arguments.table}: {len(rows)} electrodes ({arguments.type}) of {arguments.probe}, {how}")
    if arguments.atlas is not None:
        named = [" ".join(pair) for pair in dict.fromkeys(regions)]
        print(f"regions and layers: {', '.join(named)}")
    return 0


def _placed(arguments: argparse.Namespace, probe: "Probe") -> "tuple[np.ndarray, np.ndarray, str]":
    """Return positions and normals of the contacts, and how they were placed."""
    from ephysflow.errors import ConfigurationError
    from ephysflow.extracellular.probes import main_axis, placed_by_centre, placed_by_tip

    if arguments.circuit is not None:
        if arguments.tip is not None or arguments.population is None:
            raise ConfigurationError(
                "--circuit needs --population, and no --tip: contacts are at the somata's mean"
            )
        somata = _somata(arguments.circuit, arguments.population, arguments.node_set)
        axis, centre = main_axis(somata, arguments.direction), somata.mean(axis=0)
        positions, normals = placed_by_centre(probe, centre, axis, arguments.twist)
        how = f"centred at {_text(centre)}, the mean of {len(somata)} somata; from tip to base {_text(axis)}, their main axis"
        return positions, normals, how
    if arguments.population is not None or arguments.node_set is not None:
        raise ConfigurationError("--population and --node-set need --circuit")
    if arguments.tip is not None and arguments.direction is not None:
        positions, normals = placed_by_tip(probe, arguments.tip, arguments.direction, arguments.twist)
        return (
            positions,
            normals,
            f"tip at {_text(arguments.tip)}, from tip to base {_text(arguments.direction)}",
        )
    if arguments.tip is None and arguments.direction is None and not arguments.twist and probe.in_space:
        return probe.positions, probe.normals, "where its file has them"
    raise ConfigurationError(
        "where is the probe? Give --tip and --direction, or --circuit and --population"
        + ("" if probe.in_space else " (only a probe with 3-D positions can do without)")
    )


def _somata(config: Path, population: str, node_set: str | None) -> "np.ndarray":
    """Return (n, 3) the positions of nodes [um]."""
    import numpy as np

    from ephysflow.extracellular.placement import positions
    from ephysflow.sonata.nodes import node_set_ids, open_population
    from ephysflow.sonata.simulation_config import read_circuit

    circuit = read_circuit(config)
    nodes = open_population(circuit, population)
    if node_set is None:
        return positions(nodes, np.arange(nodes.size))
    files = [circuit.node_sets_file] if circuit.node_sets_file else []
    return positions(nodes, node_set_ids(files, node_set, nodes))


def _check(arguments: argparse.Namespace) -> int:
    """Print what the file holds and what is wrong with it."""
    from ephysflow.extracellular.weights_check import inspect_weights

    found = inspect_weights(
        arguments.file, circuit=arguments.circuit, report=arguments.report, positions=arguments.positions
    )
    for line in found.summary:
        print(line)
    for line in found.remarks:
        print(f"remark: {line}")
    for line in found.problems:
        print(f"problem: {line}")
    print(f"{arguments.file}: {len(found.problems) or 'no'} problem{'s' if len(found.problems) > 1 else ''}")
    return 1 if found.problems else 0


def _text(values: "np.ndarray | list[float]") -> str:
    return " ".join(f"{value + 0.0:.6g}" for value in values)
