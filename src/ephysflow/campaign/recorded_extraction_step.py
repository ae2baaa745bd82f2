"""The step ``extract_recorded``: windows and spikes of the recorded sessions of one bucket, one in memory at a time."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.campaign.observations import SimulationReport
from ephysflow.campaign.recorded_files import read_intervals, read_spikes
from ephysflow.campaign.recorded_windows import NO_INTERVAL, outside_of_spikes, recorded_trials
from ephysflow.campaign.report import spike_rows
from ephysflow.campaign.tables import (
    WINDOW_SCHEMA,
    finding,
    read_neurons,
    write_columns,
    write_findings,
    write_report,
)
from ephysflow.campaign.units import POPULATION
from ephysflow.errors import SimulationError
from ephysflow.io.tables import column, read_rows
from ephysflow.job import Job

RECORDED_WINDOW_SCHEMA = WINDOW_SCHEMA.append(
    column(
        "interval",
        pa.int64(),
        text="stimulus_presentation_id, or place in the table that the trial is a row of",
    )
)


def extract_recorded(job: Job) -> None:
    """Write windows and spikes of each session; one that cannot be used becomes a finding, and the rest goes on."""
    item = job.settings
    where = (job.results, item["campaign"], item["analysis"])
    folder = paths.extracted_folder(*where, job.key.split("\t")[-1])
    findings = []
    used: dict[str, str] = {}
    for key, session in item["sessions"].items():
        tables = paths.circuit_neurons(*where, key)
        provenance = job.provenance([*session["products"].values(), *tables])
        used |= provenance.inputs
        try:
            trials, report, said = _extract(dict(item["windows"]), session, tables)
        except SimulationError as error:
            findings.append(finding("report", key, f"session {session['session']}", str(error)))
            print(f"LEFT OUT: session {session['session']}: {error}")
            continue
        findings += [finding("report", key, subject, reason, kept=True) for subject, reason in said]
        write_columns(paths.extracted_windows(folder, key), trials, RECORDED_WINDOW_SCHEMA, provenance)
        write_report(folder, key, report, "spikes", provenance)
        print(f"session {session['session']}: {int(report.offsets[-1])} rows")
    write_findings(paths.extraction_findings(folder), findings, replace(job.provenance([]), inputs=used))


def _extract(
    windows: Mapping[str, Mapping[str, Any]], session: Mapping[str, Any], tables: list[Path]
) -> tuple[dict[str, Any], SimulationReport, list[tuple[str, str]]]:
    """Return the trials (in the order of the configuration), the report, and (subject, what is doubtful)."""
    neurons = read_neurons(tables[0])
    if not len(neurons["gid"]):
        reasons = "; ".join(row["reason"] for row in read_rows(tables[3]) if row["reason"] != "no neurons")
        raise SimulationError(reasons or "no unit is in any class")
    products = {name: Path(path) for name, path in session["products"].items()}
    spikes = read_spikes(products.pop("spikes"))
    intervals = {name: read_intervals(path, name) for name, path in products.items()}
    trials, findings = recorded_trials(windows, intervals)
    if not len(trials["trial"]):
        raise SimulationError("; ".join(f"{subject} {reason}" for subject, reason in findings))
    of_class = dict.fromkeys(np.unique(neurons["neuron_class"]).tolist(), POPULATION)
    seen = {name: values for name, values in trials.items() if name != "interval"}
    report, said = spike_rows({POPULATION: spikes}, neurons, of_class, seen)
    interval = pa.array(trials["interval"], pa.int64(), mask=trials["interval"] == NO_INTERVAL)
    return {**trials, "interval": interval}, report, findings + said + outside_of_spikes(trials, spikes[1])
