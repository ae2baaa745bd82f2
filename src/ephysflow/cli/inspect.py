"""``ephysflow inspect``: what is in a recording file, and what could be read?"""

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "file", type=Path, help="recording file (for Igor: the wave of the voltage, or a single wave)"
    )
    parser.add_argument("--i-file", type=Path, help="Igor: the wave of the current that belongs to it")
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the sweeps of the file, its protocols and what could not be read."""
    from ephysflow.recordings.inspection import inspect_file

    found = inspect_file(arguments.file, arguments.i_file)
    print(json.dumps(found, indent=2, default=str) if arguments.json else _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    """Return an inspection as lines for a person."""
    lines = [f"{found['file']}: {found['bytes']} bytes, reader {found['reader']} ({found['why']})"]
    if "layout" in found:
        lines.append(f"NWB layout: {found['layout']} ({found['layout_why']})")
    if "wave" in found:
        lines += [f"{key}: {value}" for key, value in found["wave"].items()]
        lines.append(f"note: {found['note'] or 'none'}")
    for protocol, count in found.get("protocols", {}).items():
        lines.append(f"protocol {protocol or '(without a name)'}: {count} sweeps")
    columns = (
        "sweep",
        "protocol",
        "samples",
        "rate_hz",
        "duration_ms",
        "v_unit",
        "i_unit",
        "holding",
        "stimulus",
    )
    rows = [[_short(sweep.get(column)) for column in columns] for sweep in found["sweeps"]]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in [list(columns), *rows] if rows else []:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in dict.fromkeys(sweep["details"].get("note") for sweep in found["sweeps"]):
        lines += [f"note: {note}"] if note else []
    for unreadable in found["unreadable"]:
        lines.append(
            f"cannot be read: {unreadable['sweep']} {unreadable['protocol']}: {unreadable['reason']}"
        )
    return "\n".join(lines)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
