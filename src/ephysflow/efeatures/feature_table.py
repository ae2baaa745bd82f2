"""The feature table: one row a sweep and feature."""

import pyarrow as pa

from ephysflow.io.tables import column

FEATURE_SCHEMA = pa.schema(
    [
        column("cell", pa.string()),
        column("protocol", pa.string()),
        column("sweep", pa.int64(), text="number of the sweep in the cell's sweep table"),
        column("matched_by", pa.string(), text="the stimulus parameter that targets are compared with"),
        column("amp", pa.float64(), "nA", "its value; in ms where it is delta"),
        column("amp_rel", pa.float64(), "%", "the same in percent of the cell's rheobase"),
        column("efeature", pa.string(), text="name of the eFEL feature"),
        column("settings", pa.string(), text="eFEL settings in force, JSON"),
        column("value", pa.float64(), text="mean over what eFEL gives, in eFEL's unit; NaN: not computable"),
        column("auto_threshold_used", pa.float64(), "mV", "spike threshold where the settings hold none"),
        column("error", pa.string(), text="why the sweep could not be computed; null where it could"),
    ]
)
