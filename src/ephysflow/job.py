"""What one job of the workflow knows of itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ephysflow.io.provenance import Provenance, input_digests


@dataclass(frozen=True)
class Job:
    """One job: its own settings and nothing of the others'.

    Attributes
    ----------
    step : name of the step and of its rule
    key : the item that it computes, e.g. the name of a cell
    settings : the item's settings
    settings_text : their canonical JSON text
    code : hash of the code that the step uses
    versions : package -> version
    results : folder of all outputs
    aside : how to work where that changes no result, e.g. time-outs; no trigger of anything
    """

    step: str
    key: str
    settings: Mapping[str, Any]
    settings_text: str
    code: str
    versions: Mapping[str, str]
    results: Path
    aside: Mapping[str, Any] = field(default_factory=dict)

    def provenance(self, inputs: Iterable[str | Path]) -> Provenance:
        """Return the record that goes into the job's outputs; `inputs` are hashed now."""
        return Provenance(
            self.step, self.key, self.settings_text, self.code, self.versions, input_digests(inputs)
        )
