"""The steps ``group_efeatures`` and ``group_efeatures_of_cell``: targets and the files for model fitting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ephysflow import paths
from ephysflow.efeatures.auto_targets import AutoTarget, choose
from ephysflow.efeatures.export import currents_json, features_json, json_text, protocols_json, unplayable
from ephysflow.efeatures.feature_table import FEATURE_SCHEMA
from ephysflow.efeatures.grouping import GroupedFeatures, amplitudes_by_protocol, group_features
from ephysflow.efeatures.rheobase_table import read_rheobase
from ephysflow.efeatures.targets import Target
from ephysflow.io.atomic import write_text
from ephysflow.io.canonical import canonical_json, file_digest
from ephysflow.io.provenance import Provenance
from ephysflow.io.tables import column, read_table, write_table
from ephysflow.job import Job
from ephysflow.recordings.stimuli import STIMULI, Stimulus
from ephysflow.recordings.table import sweep_parameters
from ephysflow.recordings.user_stimuli import resolve_stimulus

TARGET_SCHEMA = pa.schema(
    [
        column("key", pa.string(), text="name of the stimulus: protocol and amplitude"),
        column("protocol", pa.string()),
        column("amplitude", pa.float64(), text="percent of the rheobase, or nA with absolute_amplitude"),
        column("tolerance", pa.float64()),
        column("location", pa.string()),
        column("efeature_name", pa.string()),
        column("efeature", pa.string(), text="name of the eFEL feature"),
        column("settings", pa.string(), text="eFEL settings in force, JSON"),
        column("n_sweeps", pa.int64(), text="sweeps that belong to the target"),
        column("n", pa.int64(), text="values pooled"),
        column("mean", pa.float64()),
        column("std", pa.float64()),
        column("default_std", pa.bool_(), text="std is the default, for want of a measured one"),
        column("kept", pa.bool_(), text="n reaches threshold_nvalue_save"),
        column("values", pa.list_(pa.float64())),
        column("cells", pa.list_(pa.string()), text="cell of each value"),
        column("files", pa.list_(pa.string()), text="files of each value's sweep"),
    ]
)


def group_efeatures(job: Job) -> None:
    """Group the cells of the item, all of a target set or one alone, and write the results."""
    item = job.settings
    name, _, cell = job.key.partition("\t")
    alone = job.step == "group_efeatures_of_cell"
    sweep_tables = [paths.sweep_table(job.results, cell) for cell in item["cells"]]
    extractions = [
        paths.extraction(job.results, name, protocol, bucket)
        for protocol, buckets in item["extractions"].items()
        for bucket in buckets
    ]
    rheobase_table = paths.rheobase(job.results)
    provenance = job.provenance([*sweep_tables, rheobase_table, *extractions])
    features = pa.concat_tables([FEATURE_SCHEMA.empty_table(), *map(read_table, extractions)])
    if alone:
        features = features.filter(pa.compute.equal(features["cell"], cell))
    rheobase = {cell: value for cell, value in read_rheobase(rheobase_table).items() if cell in item["cells"]}
    sweeps = sweep_parameters(sweep_tables).to_pandas()
    stimuli = {
        **STIMULI,
        **{
            own: resolve_stimulus(own, Path(item["user_folder"]))
            for own in set(sweeps["ecode"]) - set(STIMULI)
        },
    }
    grouped = _group(item, sweeps, features.to_pandas(), rheobase, stimuli)
    files: dict[str, dict[str, Any]] = {
        "features.json": features_json(grouped),
        "protocols.json": protocols_json(grouped),
        "currents.json": currents_json(sweeps, rheobase, item["default_std_value"]),
    }
    if alone:
        written = paths.model_fitting_of_cell(job.results, name, cell)
    else:
        written = paths.model_fitting(job.results, name)
        write_table(paths.feature_table(job.results, name), features, FEATURE_SCHEMA, provenance)
        write_table(paths.target_table(job.results, name), _target_table(grouped), TARGET_SCHEMA, provenance)
    _write_model_fitting(written[0].parent, files, provenance)
    print(f"{len(files['features.json'])} stimuli, {int(grouped.targets['kept'].sum())} features")
    for stimulus, reason in unplayable(files["protocols.json"]).items():
        print(f"note: {stimulus}: {reason}")


def _group(
    item: Mapping[str, Any],
    sweeps: pd.DataFrame,
    features: pd.DataFrame,
    rheobase: Mapping[str, float | None],
    stimuli: Mapping[str, Stimulus],
) -> GroupedFeatures:
    targets = [Target(**target) for target in item["targets"]]
    if item["auto_targets"]:
        auto = [AutoTarget(**given) for given in item["auto_targets"]]
        targets += choose(auto, amplitudes_by_protocol(sweeps, rheobase))
    options = (
        *("efel_settings", "absolute_amplitude", "protocol_mode", "pooling"),
        *("global_rheobase", "threshold_nvalue_save", "default_std_value"),
    )
    return group_features(
        sweeps, features, rheobase, targets, stimuli=stimuli, **{option: item[option] for option in options}
    )


def _target_table(grouped: GroupedFeatures) -> list[dict[str, Any]]:
    rows = grouped.targets.to_dict("records")
    return [
        {**{str(key): value for key, value in row.items()}, "settings": canonical_json(row["settings"])}
        for row in rows
    ]


def _write_model_fitting(folder: Path, files: Mapping[str, Any], provenance: Provenance) -> None:
    """Write the three JSON files, whose layout has no place for provenance, and its record beside them."""
    for name, content in files.items():
        write_text(folder / name, json_text(content) + "\n")
    record = {"provenance": provenance.text(), "sha256": {name: file_digest(folder / name) for name in files}}
    write_text(folder / "provenance.json", json_text(record) + "\n")
