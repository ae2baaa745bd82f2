"""Campaigns of recorded sessions without the stage that makes the sessions' products: a test writes these itself."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ephysflow import paths
from ephysflow.campaign.comparison_planning import plan_comparisons
from ephysflow.campaign.planning import plan_campaign
from ephysflow.campaign.settings import CampaignSettings, campaign_settings
from ephysflow.cli import JOBS
from ephysflow.codehash import CodeHasher
from ephysflow.io.canonical import canonical_json
from ephysflow.io.provenance import Provenance, installed_versions
from ephysflow.io.tables import write_table
from ephysflow.plan import SEPARATOR, Plan, job_key, read_job
from ephysflow.steps import STEPS

HASHER = CodeHasher()
"""One for all plans: it remembers sources by their content."""
RESULTS = Path("results")
PROJECT = "p"
TABLES = (
    "stimulus_presentations",
    "stimulus_epochs",
    "epochs",
    "optogenetic_stimulation",
    "invalid_times",
)


@dataclass(frozen=True)
class Sessions:
    """A project as far as planning looks at it."""

    sessions: Sequence[str]


def write_product(session: str, name: str, table: pa.Table, reason: str | None = None) -> None:
    """Write one product of a session of the project; `reason` why it holds nothing."""
    path = paths.session_product(RESULTS, PROJECT, session, f"{name}.parquet")
    provenance = Provenance("extract_session", session, "{}", "", {}, {})
    if reason is None:
        write_table(path, table, table.schema, provenance)
        return
    import pyarrow.parquet as pq

    metadata = {b"ephysflow": provenance.text().encode(), b"left_out": reason.encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.schema.empty_table().replace_schema_metadata(metadata), path)


def write_session(
    session: str,
    units: Mapping[str, Sequence[Any]],
    spikes: Mapping[int, Sequence[float]],
    **tables: Mapping[str, Sequence[Any]],
) -> None:
    """Write the products of a session.

    Parameters
    ----------
    units : columns, ``unit_id`` first
    spikes : unit id -> sorted times [s]
    tables : columns of further products
    """
    write_product(session, "units", pa.table({name: pa.array(values) for name, values in units.items()}))
    ids = np.concatenate([np.full(len(times), unit, np.int64) for unit, times in sorted(spikes.items())])
    times = np.concatenate([np.asarray(times, float) for _, times in sorted(spikes.items())])
    amplitude = np.full(len(times), 1e-4)
    write_product(session, "spikes", pa.table({"unit_id": ids, "time": times, "amplitude": amplitude}))
    for name, columns in tables.items():
        write_product(
            session, name, pa.table({column: pa.array(values) for column, values in columns.items()})
        )


def settings_of(content: Mapping[str, Any], name: str = "c", **own: Any) -> CampaignSettings:
    """Return what a section ``campaign.<name>`` says, its files being in the working directory."""
    completed = {"seed": 0, "sampling": "sequential", "buckets": None, **own, **content}
    return campaign_settings(name, completed, Path(), f"config.yaml: campaign.{name}")


def plan_of(
    campaigns: Mapping[str, Mapping[str, Any]],
    projects: Mapping[str, Any],
    comparison: Mapping[str, Any] | None = None,
    available: Mapping[str, Sequence[str]] | None = None,
    **own: Any,
) -> Plan:
    """Plan campaigns, by name, in the working directory; `own` are keys of ours for all of them."""
    items: dict[tuple[str, str], Any] = {}
    analyses, notes = {}, []
    settings = [settings_of(content, name, **own) for name, content in campaigns.items()]
    for campaign in settings:
        own_items, plans, own_notes = plan_campaign(
            campaign, RESULTS, HASHER, job_key, None, projects, available or {}
        )
        items |= own_items
        analyses |= {(plan.campaign, plan.analysis): plan for plan in plans}
        notes += own_notes
    compared, comparisons = plan_comparisons(comparison or {}, settings, analyses, RESULTS)
    code = {
        name: canonical_json(
            {"code": HASHER.library(step.modules), "versions": installed_versions(step.packages)}
        )
        for name, step in STEPS.items()
    }
    return Plan(
        results=RESULTS,
        items={key: canonical_json(item) for key, item in (items | compared).items()},
        code=code,
        cells={},
        recording_files={},
        analyses=analyses,
        comparisons=comparisons,
        options={"plots": False, "per_cell": False, "campaigns": {s.name: s.in_memory for s in settings}},
        notes=notes,
    )


def run(plan: Plan, *steps: str) -> None:
    """Run the jobs of a plan in their order, or those of some steps; plots aside."""
    plan_file = plan.write()
    for step, key in plan.items:
        if (step in steps) if steps else not step.startswith("plot_"):
            module, function, _ = JOBS[step.replace("_", "-")]
            getattr(importlib.import_module(module), function)(
                read_job(plan_file, step, key.split(SEPARATOR))
            )


def settings_text(plan: Plan, step: str) -> list[dict[str, Any]]:
    """Return the settings of the jobs of a step."""
    return [json.loads(text) for (name, _), text in plan.items.items() if name == step]
