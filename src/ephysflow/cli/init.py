"""``ephysflow init``: a commented configuration and sample sheet to start from."""

import argparse
import os
from pathlib import Path

CONFIG = """\
# Made by `ephysflow init`. Check:  ephysflow validate {folder}/config.yaml
# Plan:  snakemake -n --configfile {folder}/config.yaml       Run:  snakemake -c2 --configfile {folder}/config.yaml
# A path is relative to this file; results are relative to the folder in which snakemake is started.
# Every key is explained in config/README.md of ephysflow.

results: {folder}/results

recordings:
  # One row a file. Lines of the sheet that begin with # are comments; columns that you do not need may go.
  sheet: recordings.tsv

  # Names of protocols that are not in the built-in table: name (or a part of it) -> stimulus class.
  # Classes: Step, Spontaneous, Ramp, SAHP, HyperDePol, DeHyperPol, PosCheops, NegCheops, SpikeRec, SineSpec, PinkNoise, CapCheck
{unknown}  stimuli: {{}}

  # Limits for each sweep: preset none or ipfx; exclude: true leaves sweeps out that fail one.
  quality:
    preset: none
    exclude: false

efeatures:
  # What to extract; amplitudes in percent of each cell's rheobase.
  targets: targets.yaml

  # Or let the recordings decide (then remove targets):
  # auto_targets: true

  rheobase:
    # absolute: smallest amplitude with spikes; also flush, majority, interpolation
    strategy: absolute
    # protocols that the rheobase is looked for in, by exact name
    protocols: [{protocols}]

  # sweeps: every sweep weighs the same; cells: every cell weighs the same
  pooling: sweeps
"""

LONG_STEPS = ("idrest", "idthres", "step", "firepattern", "iv")
"""Protocols whose steps are long enough for a rheobase; short pulses need more current."""

TARGETS = """\
# protocol -> amplitudes (percent of the rheobase), tolerances, and names of eFEL features
{blocks}"""

BLOCK = """\
{protocol}:
  amplitudes: [{amplitudes}]
  tolerances: [{tolerance}]
  efeatures: [{efeatures}]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.usage = "ephysflow init [-h] [--data DATA] [--warehouse [HOST]] [ecephys] FOLDER"
    parser.add_argument(
        "folder",
        nargs="+",
        metavar="FOLDER",
        help="where to write config.yaml and sheets; with the word ecephys before it, for a Neuropixels project",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of recordings or session files: the sheet is filled from what it holds",
    )
    parser.add_argument(
        "--warehouse",
        nargs="?",
        const="http://api.brain-map.org",
        metavar="HOST",
        help="of a Neuropixels project: ask this server (by default %(const)s) for its sessions",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files of one kind of project; existing ones are never replaced."""
    from ephysflow.cli.init_ecephys import write_project
    from ephysflow.errors import ConfigurationError

    *stage, folder = arguments.folder
    if stage == ["ecephys"]:
        return write_project(arguments, Path(folder))
    if stage:
        raise ConfigurationError(
            f"init: {' '.join(arguments.folder)!r}: give one folder, or ecephys and a folder"
        )
    if folder == "ecephys":
        raise ConfigurationError(
            "init ecephys: name the folder too (for recordings in a folder of that name: ./ecephys)"
        )
    if arguments.warehouse is not None:
        raise ConfigurationError(
            "init: --warehouse is for Neuropixels projects: ephysflow init ecephys FOLDER"
        )
    return _write_recordings(Path(folder), arguments.data)


def _write_recordings(folder: Path, data: Path | None) -> int:
    """Write configuration, sheet and targets of patch-clamp recordings."""
    from ephysflow.errors import ConfigurationError
    from ephysflow.io.atomic import write_text
    from ephysflow.recordings.discovery import Found, find_recordings

    names = ("config.yaml", "recordings.tsv", "targets.yaml")
    if there := [name for name in names if (folder / name).exists()]:
        raise ConfigurationError(
            f"{folder}: {', '.join(there)} is already there; name another folder or move it"
        )
    found = find_recordings(data) if data else Found()
    protocols, unknown = _protocols(found.rows), _protocols(found.unknown)
    steps = [protocol for protocol in protocols if _stimulus(protocol) == "Step"]
    rheobase = (
        [protocol for protocol in steps if protocol.lower().startswith(LONG_STEPS)] or steps or ["IDrest"]
    )
    config = CONFIG.format(folder=folder, protocols=", ".join(rheobase), unknown=_unknown_text(unknown))
    write_text(folder / "config.yaml", config)
    write_text(folder / "recordings.tsv", sheet_text(found.rows, found.unknown, folder))
    write_text(folder / "targets.yaml", TARGETS.format(blocks="".join(map(_block, protocols or ["IDrest"]))))
    for name in names:
        print(folder / name)
    print(f"{len(found.rows)} rows for {len({row['cell'] for row in found.rows})} cells")
    if unknown:
        print(
            f"{len(found.unknown)} rows are comments, for want of the stimulus class of {', '.join(unknown)}"
        )
    for path, reason in found.skipped.items():
        print(f"not in the sheet: {path}: {reason}")
    print(f"Next: look at recordings.tsv and targets.yaml, then: ephysflow validate {folder / 'config.yaml'}")
    return 0


def sheet_text(rows: list[dict[str, str]], unknown: list[dict[str, str]], folder: Path) -> str:
    """Return a sample sheet with these rows, those of unknown protocols and its columns explained in comments."""
    from ephysflow.recordings.sheet import COLUMNS

    files = ("filepath", "i_file", "v_file")
    everything = [*rows, *unknown]
    present = [key for key in files if not everything or any(key in row for row in everything)]
    columns = ["cell", "protocol", *present, "ljp"]
    lines = ["# One row a file, columns separated by tabs. All columns that there are:"]
    lines += [f"#   {column.name:28}{column.help}" for column in COLUMNS]
    lines.append("\t".join(columns))
    if not everything:
        lines.append("# " + "\t".join(["my_cell", "IDrest", "data/my_cell.abf", "", "", "14"]))
    for mark, listed in (("", rows), ("# ", unknown)):
        for row in listed:
            cells = {
                key: os.path.relpath(value, folder) if key in files else value for key, value in row.items()
            }
            lines.append(mark + "\t".join(cells.get(column, "") for column in columns))
    return "\n".join(lines) + "\n"


def _protocols(rows: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(name.partition("=")[0] for row in rows for name in row["protocol"].split(";")))


def _unknown_text(unknown: list[str]) -> str:
    if not unknown:
        return ""
    listed = ", ".join(f'"{name}": Step' for name in unknown)
    return (
        "  # Found in your files; check the class, and take away the # of their rows in the sheet:\n"
        f"  # stimuli: {{{listed}}}\n"
    )


def _stimulus(protocol: str) -> str:
    from ephysflow.recordings.stimuli.names import stimulus_name

    return stimulus_name(protocol, {})


def _block(protocol: str) -> str:
    """Return targets that suit the stimulus class of a protocol."""
    firing = "Spikecount, mean_frequency, time_to_first_spike, inv_first_ISI, ISI_CV, AP_amplitude, AHP_depth"
    passive = "voltage_base, steady_state_voltage_stimend, ohmic_input_resistance_vb_ssse, sag_ratio1"
    if "iv" in protocol.lower():
        return BLOCK.format(protocol=protocol, amplitudes="-40, -100", tolerance=20, efeatures=passive)
    if _stimulus(protocol) == "Step":
        return BLOCK.format(protocol=protocol, amplitudes="150, 200", tolerance=20, efeatures=firing)
    if _stimulus(protocol) == "SpikeRec":
        return ""
    return BLOCK.format(
        protocol=protocol, amplitudes="200", tolerance=50, efeatures="Spikecount, voltage_base"
    )
