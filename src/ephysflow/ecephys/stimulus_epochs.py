"""How presentations follow one another: epochs of stimuli, and the gaps between presentations."""

import numpy as np
import pyarrow as pa

from ephysflow.ecephys.conditions import integers
from ephysflow.io.tables import column

SPONTANEOUS = "spontaneous"
"""Name of the periods without a stimulus."""

EPOCH_SCHEMA = pa.schema(
    [
        column("start_time", pa.float64(), "s"),
        column("stop_time", pa.float64(), "s"),
        column("duration", pa.float64(), "s"),
        column("stimulus_name", pa.string(), text="of the first presentation"),
        column("stimulus_block", pa.int64(), text="null outside blocks"),
        column("stimulus_presentation_count", pa.int64()),
    ]
)

INTERVAL_SCHEMA = pa.schema(
    [
        column("from_presentation_id", pa.int64()),
        column("to_presentation_id", pa.int64()),
        column("interval", pa.float64(), "s", "negative where presentations overlap"),
    ]
)


def stimulus_epochs(presentations: pa.Table, minimum_spontaneous_duration: float = 0.0) -> pa.Table:
    """Return the epochs: runs of presentations of one block.

    Presentations outside blocks form epochs of their own, one for each run of one stimulus name. The AllenSDK means to
    leave out spontaneous epochs shorter than 90 s, but looks for a name that no longer occurs and keeps all of them, as
    the default here does.

    Parameters
    ----------
    presentations : sorted by start time, as `presentations.read_presentations` gives them
    minimum_spontaneous_duration : shorter epochs of the name "spontaneous" are left out (s)

    Returns
    -------
    table of `EPOCH_SCHEMA` in the order of time
    """
    starts, stops = (presentations.column(name).to_numpy() for name in ("start_time", "stop_time"))
    names = np.asarray(presentations.column("stimulus_name").to_pylist(), dtype=object)
    blocks, in_block = integers(presentations, "stimulus_block")
    breaks = (
        (blocks[1:] != blocks[:-1])
        | (in_block[1:] != in_block[:-1])
        | (~in_block[1:] & (names[1:] != names[:-1]).astype(bool))
    )
    first = np.flatnonzero(np.concatenate([[True], breaks])) if len(starts) else np.empty(0, dtype=np.int64)
    counts = np.diff(np.append(first, len(starts)))
    begin = starts[first]
    end = np.maximum.reduceat(stops, first) if len(first) else stops
    kept = ~((names[first] == SPONTANEOUS).astype(bool) & (end - begin < minimum_spontaneous_duration))
    first, counts, begin, end = first[kept], counts[kept], begin[kept], end[kept]
    columns = [
        pa.array(begin),
        pa.array(end),
        pa.array(end - begin),
        pa.array(names[first], type=pa.string()),
        pa.array(blocks[first], mask=~in_block[first], type=pa.int64()),
        pa.array(counts, type=pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=EPOCH_SCHEMA)


def inter_presentation_intervals(presentations: pa.Table) -> pa.Table:
    """Return the time from the end of each presentation to the start of the next one.

    Parameters
    ----------
    presentations : any of them (e.g. those of one stimulus) in the order of time

    Returns
    -------
    table of `INTERVAL_SCHEMA`, one row less than there are presentations (none for none)
    """
    ids, starts, stops = (
        presentations.column(name).to_numpy()
        for name in ("stimulus_presentation_id", "start_time", "stop_time")
    )
    columns = [pa.array(ids[:-1]), pa.array(ids[1:]), pa.array(starts[1:] - stops[:-1])]
    return pa.Table.from_arrays(columns, schema=INTERVAL_SCHEMA)
