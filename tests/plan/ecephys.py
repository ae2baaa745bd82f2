"""A small Neuropixels project of session files with a campaign of it, and its workflow."""

import shutil
from pathlib import Path
from typing import Any

from ephysflow.example.ecephys_files import write_session
from ephysflow.io.canonical import canonical_json, digest

from .conftest import REPOSITORY, Workflow

PROJECT = "p"
SESSIONS = ("1", "2")
OF_UNITS = (
    "units.parquet",
    "spikes.parquet",
    "mean_waveforms.h5",
    "presentationwise_spike_counts.h5",
    "conditionwise_spike_statistics.parquet",
)
"""Products that depend on which units are kept."""
OTHERS = ("stimulus_presentations.parquet", "running_speed.parquet")
PRODUCTS = (*OF_UNITS, *OTHERS)

CONFIG: dict[str, Any] = {
    "results": "results",
    "plots": False,
    "ecephys": {
        PROJECT: {
            "source": "nwb",
            "folder": "nwb",
            "products": [Path(name).stem for name in PRODUCTS],
            "product_options": {
                "presentationwise_spike_counts": {"bin_edges": [0, 0.1, 0.2], "stimuli": ["flashes"]},
                "conditionwise_spike_statistics": {"stimuli": ["flashes"]},
            },
        }
    },
    "campaign": {
        "c": {
            "recorded_sessions": {"project": PROJECT},
            "analysis": {
                "a": {
                    "extraction": {
                        "report": {"type": "spikes"},
                        "neuron_classes": {"all": {}},
                        "windows": {
                            "flash": {
                                "bounds": [0, 250],
                                "trials": {
                                    "table": "stimulus_presentations",
                                    "query": {"stimulus_name": "flashes"},
                                },
                            }
                        },
                    },
                    "features": [
                        {
                            "type": "multi",
                            "groupby": ["simulation_id", "circuit_id", "neuron_class", "window"],
                            "function": "firing_rates",
                        }
                    ],
                }
            },
        }
    },
}


class ProjectWorkflow(Workflow):
    """A workflow whose jobs have readable names."""

    @property
    def project(self) -> dict[str, Any]:
        return self.config["ecephys"][PROJECT]

    def change(self, **keys: Any) -> None:
        """Set keys of the project; None takes a key away."""
        config = self.config
        section = config["ecephys"][PROJECT] | keys
        config["ecephys"][PROJECT] = {key: value for key, value in section.items() if value is not None}
        self.write_config(config)

    def plan(self) -> set[str]:
        """Return the planned jobs, e.g. ``extract_session(1, units.parquet)`` or ``select_units(c, a, 1)``."""
        names = {digest(canonical_json([PROJECT, session])): session for session in (*SESSIONS, "3")}
        jobs = set()
        for job in super().plan():
            step, _, rest = job.rstrip(")").partition("(")
            parts = [names.get(part, part) for part in rest.split(", ")]
            if step == "compute_features":
                del parts[2]
            if len(parts) > 1 and parts[0] == PROJECT:
                del parts[0]
            jobs.add(f"{step}({', '.join(parts)})")
        return jobs


def write_workflow(folder: Path) -> None:
    folder.mkdir()
    for name in ("workflow", "src", "profiles", "envs"):
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
    shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")


def write_nwb(folder: Path, session: int, seed: int | None = None) -> Path:
    """Write the small file of a session; `seed` of its spikes, by default its id."""
    (folder / "nwb").mkdir(exist_ok=True)
    path = folder / f"nwb/session_{session}.nwb"
    write_session(path, session, seed=session if seed is None else seed, n_channels=8, n_units=4)
    return path


def write_nwb_project(folder: Path) -> ProjectWorkflow:
    """Write two session files, a campaign of them and its workflow; run nothing."""
    write_workflow(folder)
    for session in SESSIONS:
        write_nwb(folder, int(session))
    workflow = ProjectWorkflow(folder)
    workflow.write_config(CONFIG)
    return workflow
