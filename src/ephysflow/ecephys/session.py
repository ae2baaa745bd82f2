"""Python access to one session: its tables as DataFrames, its arrays as numpy arrays. Nothing is computed beforehand.

Examples
--------
>>> with open_session("session_715093703.nwb") as session:                     # doctest: +SKIP
...     counts = session.presentationwise_spike_counts([0.0, 0.1, 0.2], unit_ids=session.units.index)
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa

from ephysflow.ecephys import (
    behaviour,
    conditions,
    eye_tracking,
    intervals,
    stimulus_epochs,
    structure_intervals,
)
from ephysflow.ecephys.columns import values_of
from ephysflow.ecephys.condition_statistics import condition_statistics
from ephysflow.ecephys.lfp import Csd, Lfp, LfpFile, find_lfp, lfp_of_probe
from ephysflow.ecephys.presentations import read_presentations
from ephysflow.ecephys.session_channels import session_channels, session_probes
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.session_spikes import (
    MeanWaveform,
    Spikes,
    session_mean_waveforms,
    session_spikes,
)
from ephysflow.ecephys.session_units import session_units
from ephysflow.ecephys.spike_counts import presentation_spike_counts, presentation_spike_times
from ephysflow.ecephys.templates import session_templates
from ephysflow.ecephys.unit_filters import UnitFilters
from ephysflow.errors import ConfigurationError

if TYPE_CHECKING:
    from ephysflow.ecephys.project import Project

_NAMED_AT_MOST = 10
"""Ids that a message names."""

Ids = Sequence[int] | np.ndarray | pd.Index


@dataclass(frozen=True)
class SpikeCounts:
    """Spikes by presentation, bin and unit.

    Attributes
    ----------
    counts : (P, B, U) integers
    stimulus_presentation_ids : (P,)
    bin_edges : (B + 1,) from the start of a presentation [s]; bins are half-open, ``[left, right)``
    unit_ids : (U,)
    """

    counts: np.ndarray
    stimulus_presentation_ids: np.ndarray
    bin_edges: np.ndarray
    unit_ids: np.ndarray

    @property
    def bin_centres(self) -> np.ndarray:
        """(B,) middle of each bin [s]."""
        return (self.bin_edges[:-1] + self.bin_edges[1:]) / 2

    def to_frame(self) -> pd.DataFrame:
        """Return one row a presentation and bin (by its centre), and one column a unit."""
        index = pd.MultiIndex.from_product(
            [self.stimulus_presentation_ids, self.bin_centres],
            names=["stimulus_presentation_id", "time_relative_to_stimulus_onset"],
        )
        columns = pd.Index(self.unit_ids, name="unit_id")
        return pd.DataFrame(self.counts.reshape(len(index), len(columns)), index=index, columns=columns)


class Session:
    """One session: see `open_session`. Use it as a context manager; what was read stays when it is closed.

    Tables and arrays are read when they are first asked for. Times are in s and signals in V, as in NWB.

    Parameters
    ----------
    path : session NWB
    filters : of units
    channels : the project's channels, which override what the file says of structures
    metrics : analysis metrics, joined onto the units
    lfp_files : probe -> LFP file
    """

    def __init__(
        self,
        path: Path,
        filters: UnitFilters,
        channels: pa.Table | None = None,
        metrics: pa.Table | None = None,
        lfp_files: Mapping[str, Path] | None = None,
    ) -> None:
        self.path = path
        self.unit_filters = filters
        self._external, self._metrics = channels, metrics
        self._lfp_files = dict(lfp_files or {})
        self._opened = ExitStack()
        self._lfp: dict[str, Lfp] = {}
        self._session: SessionFile | None = self._opened.enter_context(SessionFile(path))
        self.session_id = self._session.session_id

    def __repr__(self) -> str:
        return f"Session({self.session_id}, {str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files of the session."""
        self._session = None
        self._lfp = {}
        self._opened.close()

    @property
    def _file(self) -> SessionFile:
        if self._session is None:
            raise ConfigurationError(f"session {self.session_id} ({self.path}) is closed; open it again")
        return self._session

    # ------------------------------------------------------------ session, probes, channels, units

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the file says of the session, the animal and itself."""
        return self._file.metadata()

    @cached_property
    def probes(self) -> pd.DataFrame:
        """Probes, by id."""
        return frame_of(session_probes(self._file), "id")

    @cached_property
    def channels(self) -> pd.DataFrame:
        """All channels, by id; ``valid_data`` tells which ones can be used."""
        return frame_of(self._channels, "id")

    @cached_property
    def units(self) -> pd.DataFrame:
        """Units that the filters keep, by id, with the columns of their channel and probe and analysis metrics."""
        return frame_of(self._units[0], "unit_id")

    @cached_property
    def unit_filter_records(self) -> pd.DataFrame:
        """How many units each filter removed."""
        return pd.DataFrame([asdict(record) for record in self._units[1]])

    @property
    def structurewise_unit_counts(self) -> pd.Series:
        """Number of the units of each structure."""
        return self.units["ecephys_structure_acronym"].value_counts()

    def channel_structure_intervals(
        self, channel_ids: Ids | None = None
    ) -> tuple[list[str | None], np.ndarray]:
        """Return runs of channels in one structure: see `structure_intervals.channel_structure_intervals`."""
        wanted = None if channel_ids is None else list(channel_ids)
        return structure_intervals.channel_structure_intervals(self._channels, wanted)

    @cached_property
    def _channels(self) -> pa.Table:
        return session_channels(self._file, self._external)

    @cached_property
    def _units(self) -> tuple[pa.Table, list]:
        return session_units(self._file, self.unit_filters, self._external, self._metrics)

    # ------------------------------------------------------------ spikes

    @cached_property
    def spike_times(self) -> dict[int, np.ndarray]:
        """Spike times of the units [s]."""
        return _by_unit(self._spikes, self._spikes.times)

    @cached_property
    def spike_amplitudes(self) -> dict[int, np.ndarray]:
        """Amplitudes of the spikes of the units [V]; without entries where the file holds none."""
        amplitudes = self._spikes.amplitudes
        return {} if amplitudes is None else _by_unit(self._spikes, amplitudes)

    @cached_property
    def mean_waveforms(self) -> dict[int, pd.DataFrame]:
        """Mean waveform of the units: one row a channel (-1: not known), one column a time [s] or sample.

        Columns are samples where the file does not give the sampling rate.
        """
        unit_ids = values_of(self._units[0]["unit_id"])
        return {found.unit_id: _waveform(found) for found in session_mean_waveforms(self._file, unit_ids)}

    @cached_property
    def _spikes(self) -> Spikes:
        found = session_spikes(self._file, values_of(self._units[0]["unit_id"]))
        for subject, reason in found.findings:
            warnings.warn(f"{self.path}: {subject}: {reason}", stacklevel=2)
        return found

    # ------------------------------------------------------------ stimuli

    @cached_property
    def stimulus_presentations(self) -> pd.DataFrame:
        """Presentations in the order of time, by id."""
        return frame_of(self._presentations, "stimulus_presentation_id")

    @cached_property
    def stimulus_conditions(self) -> pd.DataFrame:
        """Sets of parameters of the presentations, by id."""
        return frame_of(conditions.stimulus_conditions(self._presentations), "stimulus_condition_id")

    def stimulus_epochs(self, minimum_spontaneous_duration: float = 0.0) -> pd.DataFrame:
        """Return runs of presentations of one block.

        Parameters
        ----------
        minimum_spontaneous_duration : shorter epochs of the stimulus "spontaneous" are left out [s]
        """
        return frame_of(stimulus_epochs.stimulus_epochs(self._presentations, minimum_spontaneous_duration))

    def stimulus_table(self, names: str | Sequence[str]) -> pd.DataFrame:
        """Return the presentations of some stimuli, with the columns that apply to them."""
        table = conditions.stimulus_table(self._presentations, names)
        return frame_of(table, "stimulus_presentation_id")

    def stimulus_parameter_values(self, names: str | Sequence[str] | None = None) -> dict[str, list[Any]]:
        """Return the values that each parameter takes, in all stimuli or in those named."""
        return conditions.parameter_values(self._presentations, names)

    def inter_presentation_intervals(self, names: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Return the times between the presentations that follow one another, of all stimuli or of those named [s]."""
        chosen = self._presentations
        if names is not None:
            chosen = conditions.stimulus_table(chosen, names)
        table = stimulus_epochs.inter_presentation_intervals(chosen)
        return frame_of(table).set_index(["from_presentation_id", "to_presentation_id"])

    @cached_property
    def stimulus_templates(self) -> dict[str, h5py.Dataset]:
        """Images and movies inside the session file, to be sliced while it is open; `Project` has those of the project."""
        return session_templates(self._file)

    @cached_property
    def _presentations(self) -> pa.Table:
        return read_presentations(self._file)

    # ------------------------------------------------------------ spikes by presentation

    def presentationwise_spike_counts(
        self,
        bin_edges: Sequence[float] | np.ndarray,
        stimulus_presentation_ids: Ids | None = None,
        unit_ids: Ids | None = None,
        binarize: bool = False,
    ) -> SpikeCounts:
        """Count spikes in bins of each presentation; bins are half-open, ``[left, right)``.

        Parameters
        ----------
        bin_edges : rising, from the start of a presentation [s]
        stimulus_presentation_ids, unit_ids : which ones, in this order; None for all
        binarize : 1 where there is a spike, in place of the count

        Raises
        ------
        ConfigurationError
            if an id is unknown, or edges do not rise.
        """
        presentations = self._chosen_presentations(stimulus_presentation_ids)
        spikes = self._chosen_spikes(unit_ids)
        try:
            edges = np.asarray(bin_edges, dtype=float)
        except (TypeError, ValueError):
            raise ConfigurationError(f"bin_edges: {str(bin_edges)[:80]} are not numbers") from None
        starts = presentations["start_time"].to_numpy()
        counts = presentation_spike_counts(spikes.times, spikes.offsets, starts, edges, binarize)
        ids = presentations["stimulus_presentation_id"].to_numpy()
        return SpikeCounts(counts, ids, edges, spikes.unit_ids)

    def presentationwise_spike_times(
        self, stimulus_presentation_ids: Ids | None = None, unit_ids: Ids | None = None
    ) -> pd.DataFrame:
        """Return the spikes during presentations, ``[start, stop)``, by spike time; arguments as for the counts."""
        spikes = self._chosen_spikes(unit_ids)
        presentations = self._chosen_presentations(stimulus_presentation_ids)
        table = presentation_spike_times(spikes.times, spikes.offsets, spikes.unit_ids, presentations)
        return frame_of(table, "spike_time")

    def conditionwise_spike_statistics(
        self,
        stimulus_presentation_ids: Ids | None = None,
        unit_ids: Ids | None = None,
        use_rates: bool = False,
    ) -> pd.DataFrame:
        """Return count, mean, deviation and error of the spikes of a presentation, for each unit and condition.

        Parameters
        ----------
        stimulus_presentation_ids, unit_ids : which ones; None for all
        use_rates : spikes per second in place of spikes
        """
        spikes = self._chosen_spikes(unit_ids)
        presentations = self._chosen_presentations(stimulus_presentation_ids)
        table = condition_statistics(spikes.times, spikes.offsets, spikes.unit_ids, presentations, use_rates)
        return frame_of(table).set_index(["unit_id", "stimulus_condition_id"])

    def _chosen_presentations(self, ids: Ids | None) -> pa.Table:
        if ids is None:
            return self._presentations
        known = self._presentations["stimulus_presentation_id"].to_numpy()
        return self._presentations.take(pa.array(_rows(known, ids, "stimulus_presentation_ids")))

    def _chosen_spikes(self, ids: Ids | None) -> Spikes:
        if ids is None:
            return self._spikes
        rows = _rows(self._spikes.unit_ids, ids, "unit_ids")
        trains = [self._spikes.times[slice(*self._spikes.offsets[row : row + 2])] for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(train) for train in trains])]).astype(np.int64)
        times = np.concatenate([np.empty(0), *trains])
        return Spikes(self._spikes.unit_ids[rows], offsets, times, None, [])

    # ------------------------------------------------------------ the animal, and intervals

    @cached_property
    def running_speed(self) -> pd.DataFrame:
        """Running speed; without rows where the file has none."""
        return frame_of(behaviour.read_running_speed(self._file))

    @cached_property
    def raw_running(self) -> pd.DataFrame:
        """What the sensor of the running wheel gave; without rows where the file has none."""
        return frame_of(behaviour.read_raw_running(self._file))

    @cached_property
    def optogenetic_stimulation(self) -> pd.DataFrame:
        """Pulses of light; without rows where the file has none."""
        return frame_of(behaviour.read_optogenetic_stimulation(self._file))

    @cached_property
    def eye_tracking(self) -> pd.DataFrame:
        """Pupil, eye, corneal reflection and gaze; without rows where the file has none."""
        return frame_of(eye_tracking.read_eye_tracking(self._file))

    @cached_property
    def eye_tracking_rig(self) -> pd.DataFrame:
        """Where monitor, camera and light of the eye tracking stood; without rows where the file does not say."""
        return frame_of(eye_tracking.read_eye_tracking_rig(self._file))

    @cached_property
    def invalid_times(self) -> pd.DataFrame:
        """Intervals in which something was wrong, and what (``tags``)."""
        return frame_of(intervals.read_invalid_times(self._file))

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """Intervals that are neither presentations nor invalid times."""
        return frame_of(intervals.read_epochs(self._file))

    def interval_tables(self) -> list[str]:
        """Return the names of the tables of intervals that the file holds."""
        return intervals.interval_tables(self._file)

    def intervals(self, name: str) -> pd.DataFrame:
        """Return one table of intervals with all its columns."""
        return frame_of(intervals.read_intervals(self._file, name))

    # ------------------------------------------------------------ LFP

    def lfp(
        self,
        probe_id: int | str,
        start: float = -np.inf,
        stop: float = np.inf,
        channel_ids: Ids | None = None,
    ) -> pd.DataFrame:
        """Return LFP of a probe [V]: one row a time, one column a channel; NaN in invalid times.

        Parameters
        ----------
        probe_id : one of `probes`
        start, stop : samples with ``start <= time < stop`` are read [s]; a probe has 1-3 GB
        channel_ids : which channels, in this order; None for all

        Raises
        ------
        ConfigurationError
            if there is no LFP of the probe, naming those that have some, or a channel is unknown.
        """
        wanted = None if channel_ids is None else list(channel_ids)
        times, values, ids = self._lfp_of(probe_id).read(start, stop, wanted)
        return pd.DataFrame(
            values, index=pd.Index(times, name="time"), columns=pd.Index(ids, name="channel_id")
        )

    def csd(self, probe_id: int | str) -> Csd:
        """Return the current source density of a probe that its LFP file holds; errors as `lfp`."""
        found = self._lfp_of(probe_id)
        if not isinstance(found, LfpFile):
            raise ConfigurationError(
                f"{self.path}: holds the LFP of probe {probe_id}, but no current source density"
            )
        return found.csd()

    def _lfp_of(self, probe_id: int | str) -> Lfp:
        name = str(probe_id)
        inside: list[str] = []
        if name not in self._lfp:
            if name in self._lfp_files:
                invalid_times = intervals.read_invalid_times(self._file)
                file = LfpFile(self._lfp_files[name], name, invalid_times)
                self._lfp[name] = self._opened.enter_context(file)
            else:
                inside = [str(lfp.probe_id) for lfp in find_lfp(self._file).values()]
                self._lfp |= {other: lfp_of_probe(self._file, other) for other in inside if other == name}
        if name not in self._lfp:
            known = list(dict.fromkeys([*self._lfp_files, *inside]))
            raise ConfigurationError(
                f"{self.path}: there is no LFP of probe {probe_id}; there is LFP of: {', '.join(known) or 'none'}"
            )
        return self._lfp[name]


def open_session(
    session: str | int | Path,
    *,
    project: "Project | str | Path | None" = None,
    unit_filters: Mapping[str, Any] | None = None,
    lfp_files: Mapping[int | str, str | Path] | None = None,
) -> Session:
    """Open a session, from its NWB file alone or as part of a project.

    Parameters
    ----------
    session : path of the NWB file; or, with `project`, the id of the session
    project : what `open_project` takes or gives. Then the project's channels say where units are, its analysis
        metrics are joined onto the units, and its LFP files are found
    unit_filters : keywords of `UnitFilters`; those that are not given have their default. Without it, the filters that
        the project's tables were made with
    lfp_files : probe -> LFP file, beside those of the project

    Raises
    ------
    ConfigurationError
        if a filter or the session is unknown.
    ProjectError
        if the file cannot be used.
    """
    where = "open_session: unit_filters"
    own_lfp = {str(probe): Path(file) for probe, file in (lfp_files or {}).items()}
    if project is None:
        if not isinstance(session, str | Path):
            raise ConfigurationError(
                f"open_session: {session!r} is the id of a session, not a file: project is needed to find its file"
            )
        return Session(Path(session), UnitFilters.from_mapping(unit_filters or {}, where), lfp_files=own_lfp)
    if isinstance(project, str | Path):
        from ephysflow.ecephys.project import open_project

        project = open_project(project)
    name = str(session)
    identifier = int(name) if name.isascii() and name.isdigit() else name
    return Session(
        project.session_file(identifier),
        UnitFilters.from_mapping(project.unit_filters if unit_filters is None else unit_filters, where),
        project.external_channels(),
        project.metrics(identifier),
        {**project.lfp_files(identifier), **own_lfp},
    )


def frame_of(table: pa.Table, index: str | None = None) -> pd.DataFrame:
    """Return a table as a DataFrame; integers and booleans with nulls stay integers and booleans.

    Parameters
    ----------
    table : of a project or session
    index : column that becomes the index
    """
    nullable: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame = pd.DataFrame(
        {
            name: values.to_pandas(types_mapper=nullable.get if values.null_count else None)
            for name, values in zip(table.column_names, table.columns, strict=True)
        }
    )
    return frame if index is None else frame.set_index(index)


def _waveform(found: MeanWaveform) -> pd.DataFrame:
    n_samples, rate = found.values.shape[1], found.sampling_rate  # noqa: PD011
    samples = np.arange(n_samples)
    columns = pd.Index(samples, name="sample") if rate is None else pd.Index(samples / rate, name="time")
    return pd.DataFrame(found.values, index=pd.Index(found.channel_ids, name="channel_id"), columns=columns)


def _by_unit(spikes: Spikes, values: np.ndarray) -> dict[int, np.ndarray]:
    bounds = spikes.offsets.tolist()
    return {
        unit: values[start:stop]
        for unit, start, stop in zip(spikes.unit_ids.tolist(), bounds[:-1], bounds[1:], strict=True)
    }


def _rows(known: np.ndarray, wanted: Ids, what: str) -> np.ndarray:
    """Return the places of the ids that are wanted."""
    places = {identifier: row for row, identifier in enumerate(known.tolist())}
    try:
        ids = np.asarray(wanted)
    except ValueError:  # lists of different lengths
        ids = np.empty((0, 0))
    if ids.ndim != 1:
        raise ConfigurationError(f"{what}: a list of ids is needed, not {str(wanted)[:80]}")
    asked = ids.tolist()
    if unknown := [identifier for identifier in asked if identifier not in places]:
        raise ConfigurationError(
            f"{what}: {_shown(unknown)} unknown; there are {len(known)}: {_shown(known.tolist())}"
        )
    if len(set(asked)) < len(asked):
        twice = [identifier for identifier, times in Counter(asked).items() if times > 1]
        raise ConfigurationError(f"{what}: {_shown(twice)} given more than once")
    return np.array([places[identifier] for identifier in asked], dtype=np.int64)


def _shown(ids: Sequence[Any]) -> str:
    more = f" and {len(ids) - _NAMED_AT_MOST} more" if len(ids) > _NAMED_AT_MOST else ""
    return ", ".join(map(str, ids[:_NAMED_AT_MOST])) + more
