"""The five NWB layouts of laboratories that do without the standard's tables.

bbp : Blue Brain Project, extension ndx-lnmc-icephys-hierarchy
aibs : Allen Institute, NWB 1
scala : Scala et al. 2019
trt : Howard et al. 2022 (DANDI 000292, 000293)
vu : VU Amsterdam, written by MIES
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

from ephysflow.errors import RecordingError
from ephysflow.recordings.readers.common import FoundSweep, number, with_note
from ephysflow.recordings.readers.nwb_series import (
    children,
    details_of,
    kind_of,
    paired,
    read_series,
    scalar,
    text,
)
from ephysflow.recordings.readers.units import unit_factor
from ephysflow.recordings.sweep import RawSweep

_VU_PROTOCOLS = {
    "X1PS_SubThresh": "IV",
    "X2LP_Search": "IDThresh",
    "X3LP_Rheo": "IDRest",
    "X4PS_SupraThresh": "IDRest",
    "X4PT_C2NSD1SHORT": "PinkNoise",
    "X4PU_C2NSD2SHORT": "PinkNoise",
    "X5SP_Search": "IDThresh",
    "X6SP_Rheo": "IDRest",
    "X6SQ_C2SSTRIPLE": "SpikeRec",
    "X7Ramp": "Ramp",
    "X8_CHIRP": "SineSpec",
    "X9_C1QCAPCHK": "CapCheck",
    "X9_C1SQCAPCHK": "CapCheck",
    "CCSteps": "Step",
    "steps": "Step",
}
_VU_TEST_PULSE = {"CCSteps", "X1PS_SubThresh", "X4PS_SupraThresh"}
_VU_TEST_PULSE_END = 90.0  # ms


def list_bbp(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List the responses in data_organization/cell/protocol/repetition/sweep.

    With `v_file` in the entry, only those whose description names that original file.
    """
    original = PurePath(entry["v_file"]).name if entry.get("v_file") else None
    responses = children(file.get("acquisition"))
    found = []
    for cell in children(file["data_organization"]).values():
        for protocol, repetitions in children(cell).items():
            for repetition, sweeps in children(repetitions).items():
                for trace in (trace for sweep in children(sweeps).values() for trace in sweep):
                    if not re.match("(ccs|ic|vcs|vc)_", trace):
                        continue  # the stimuli stand here too
                    described = (
                        text(responses[trace].attrs.get("description")) if trace in responses else None
                    )
                    if original is None or PurePath(described or "").name == original:
                        read = partial(_read_bbp, file, trace, protocol, _last_number(repetition))
                        found.append(FoundSweep(trace, (protocol,), _last_number(repetition), read))
    return found


def _read_bbp(file: Any, trace: str, protocol: str, repetition: int | None) -> RawSweep:
    if trace.startswith("v"):
        raise RecordingError("voltage clamp")
    stimulus = re.sub("^(ccs|ic)_", r"\1s_", trace)
    return _read_pair(file, trace, stimulus, protocol=protocol, sweep_id=trace, repetition=repetition)


def list_aibs(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List acquisition/timeseries, with stimuli of the same names; the protocol is `aibs_stimulus_name`."""
    found = []
    for name, series in children(file["acquisition/timeseries"]).items():
        protocol = text(series.get("aibs_stimulus_name")) or "unnamed"
        read = partial(_read_pair, file, name, name, protocol=protocol, sweep_id=name)
        found.append(FoundSweep(name, (protocol,), None, read))
    return found


def list_scala(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List acquisition, with stimuli named "..StimulusSeries.." for "..Series..".

    The protocol is the stimulus description; those of steps, and missing ones, can be asked for as "Step".
    The repetition stands in the table of recordings, in the row that the series' name ends with.
    """
    table = file.get("general/intracellular_ephys/intracellular_recordings/repetition")
    repetitions = [] if table is None else table[()].tolist()
    found = []
    for name, series in children(file.get("acquisition")).items():
        described = text(series.attrs.get("stimulus_description"))
        row = _last_number(name)
        repetition = int(repetitions[row]) if row is not None and row < len(repetitions) else None
        names = step_names(described)
        stimulus = name.replace("Series", "StimulusSeries")
        read = partial(
            _read_pair, file, name, stimulus, protocol=names[0], sweep_id=name, repetition=repetition
        )
        found.append(FoundSweep(name, names, repetition, read))
    return found


def step_names(described: str | None) -> tuple[str, ...]:
    """Return the names by which a stimulus description can be asked for: steps of any kind also as "Step"."""
    if described is None or described.lower() == "na":
        return ("Step",)
    if described == "GenericStep" or "step" not in described.lower() or described == "Step":
        return (described,)
    return ("Step", described)


def list_trt(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List acquisition/index_..: all are steps; the stimulus' name follows from the numbers in the response's."""
    return [
        FoundSweep(name, ("Step", "GenericStep"), None, partial(_read_trt, file, name))
        for name in children(file.get("acquisition"))
        if name.lower().startswith("index_")
    ]


def _read_trt(file: Any, name: str) -> RawSweep:
    response, stimulus = _series_of(file, name, _trt_partner(name))
    details = details_of(response)
    conversions = [float(s["data"].attrs.get("conversion", 1.0)) for s in (response, stimulus)]
    voltage, current = read_series(response), read_series(stimulus)
    if conversions == [1e-12, 0.001] and voltage.unit == current.unit == "volts":
        voltage = replace(voltage, values=(response["data"][()] * np.float64(1e-3)).astype(np.float32))
        current = replace(
            current, values=(stimulus["data"][()] * np.float64(1e-12)).astype(np.float32), unit="amperes"
        )
        details = with_note(details, "the file swaps the scales of voltage and current: put right")
    return paired(voltage, current, sweep_id=name, protocol="Step", details=details)


def _trt_partner(name: str) -> str:
    """Return the stimulus of a response: index_k goes with index_(2k+1), index_a_b_c with the c of the same pair.

    Pairs of last numbers are 0 and 1, 2 and 3; any other number goes with itself.
    """
    numbers = list(re.finditer(r"\d+", name))
    if not numbers:
        raise RecordingError(f"{name} holds no number that tells the stimulus")
    last = numbers[-1]
    k = int(last[0])
    partner = 2 * k + 1 if len(numbers) == 1 else k ^ 1 if k < 4 else k
    return f"{name[: last.start()]}{partner:0{len(last[0])}d}{name[last.end() :]}"


def list_vu(file: Any, entry: Mapping[str, Any]) -> list[FoundSweep]:
    """List the stimuli named "..DA..", with responses "..AD.."; known stimulus codes also go by usual names."""
    toff = number(entry, "toff")
    found = []
    for name, stimulus in children(file.get("stimulus/presentation")).items():
        if "DA" not in name:
            continue
        code = text(stimulus.attrs.get("stimulus_description")) or text(stimulus.get("stimulus_description"))
        code = (code or "unnamed").removesuffix("_DA_0")
        names = (
            (_VU_PROTOCOLS[code], code, f"{code}_DA_0") if code in _VU_PROTOCOLS else (code, f"{code}_DA_0")
        )
        found.append(FoundSweep(name, names, None, partial(_read_vu, file, name, code, names[0], toff)))
    return found


def _read_vu(file: Any, name: str, code: str, protocol: str, toff: float | None) -> RawSweep:
    response, stimulus = _series_of(file, name.replace("DA", "AD"), name)
    raw = paired(
        read_series(response),
        read_series(stimulus),
        sweep_id=name,
        protocol=protocol,
        details={**details_of(response), "stimulus_description": code},
    )
    voltage, current, details = raw.voltage, raw.current, dict(raw.details)
    length = min(len(voltage), len(current))
    unknown = np.flatnonzero(np.isnan(current[:length]))
    if len(unknown):
        length = int(unknown[0])
        details = with_note(details, f"cut at sample {length}: the stimulus is NaN from there on")
    voltage, current = voltage[:length], current[:length].copy()
    step = raw.dt * unit_factor(raw.t_unit, "time")
    if not length or (toff is not None and length * step < toff):
        raise RecordingError(f"only {length * step:g} ms are left before NaN, toff is at {toff} ms")
    bias = scalar(response, "bias_current")
    if bias is not None and np.isfinite(bias) and bias:
        # MIES wrote it in pA although the standard says amperes; no bias is above 1 uA or below 1e-6 pA
        amperes = bias * 1e-12 if abs(bias) > 1e-6 else bias
        current += np.float32(amperes * 1e9 / unit_factor(raw.i_unit, "current"))
        details = with_note(details, f"bias current of {amperes * 1e12:g} pA added")
    pulse = round(_VU_TEST_PULSE_END / step)
    if code in _VU_TEST_PULSE and pulse < length:
        voltage = voltage.copy()
        voltage[:pulse], current[:pulse] = voltage[pulse], current[pulse]
        details = with_note(details, f"test pulse in the first {_VU_TEST_PULSE_END:g} ms blanked")
    return replace(raw, voltage=voltage, current=current, details=details)


def _read_pair(file: Any, response_name: str, stimulus_name: str, **more: Any) -> RawSweep:
    response, stimulus = _series_of(file, response_name, stimulus_name)
    return paired(read_series(response), read_series(stimulus), details=details_of(response), **more)


def _series_of(file: Any, response_name: str, stimulus_name: str) -> tuple[Any, Any]:
    """Return the groups of a response and its stimulus; voltage clamp and missing partners are refused."""
    response = file.get(f"acquisition/timeseries/{response_name}")
    response = file.get(f"acquisition/{response_name}") if response is None else response
    stimulus = file.get(f"stimulus/presentation/{stimulus_name}")
    if response is not None and kind_of(response).startswith("VoltageClamp"):
        raise RecordingError("voltage clamp")
    if response is None or stimulus is None:
        missing = f"response {response_name}" if response is None else f"stimulus {stimulus_name}"
        raise RecordingError(f"the file has no {missing} that belongs to it")
    return response, stimulus


def _last_number(name: str) -> int | None:
    """Return the number that a name ends with."""
    match = re.search(r"(\d+)$", name)
    return int(match[1]) if match else None
