"""Columns of Arrow tables as numpy arrays and back, without pandas.

pyarrow's own `to_numpy` and `array` import pandas, which takes longer than all the work on the tables of a project.
"""

import numpy as np
import pyarrow as pa


def values_of(column: pa.ChunkedArray | pa.Array, missing: float | int = np.nan) -> np.ndarray:
    """Return a column of numbers or flags as a numpy array.

    Parameters
    ----------
    column : integers, floats or booleans (which become uint8)
    missing : what stands for null; with NaN, integers that have nulls become floats

    Returns
    -------
    a view of the column's memory where it is in one piece and has no null
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(whole.type):
        whole = whole.cast(pa.uint8())
    if not whole.null_count:
        return np.from_dlpack(whole)
    filled = pa.Array.from_buffers(
        whole.type, len(whole), [None, whole.buffers()[1]], null_count=0, offset=whole.offset
    )
    return np.where(values_of(whole.is_valid()), np.from_dlpack(filled), missing)


def array_of(values: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """Return numbers or flags as an Arrow array; numbers share their memory.

    Parameters
    ----------
    values : (N,)
    missing : (N,) bool, True for null; None: there are none
    """
    if values.dtype == bool:
        return array_of(values.view(np.uint8), missing).cast(pa.bool_())
    plain = np.ascontiguousarray(values)
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [valid, pa.py_buffer(plain)])
