"""A warehouse on this machine, for tests: RMA queries, downloads with ranges, and faults on demand.

    records, files = small_project()
    with FakeWarehouse(records, files) as server:
        server.fault(9001, "truncate", count=2)
        Transport(host=server.host)
        server.requests   # what was asked, in order

Faults of a file (key: its id): truncate (connection closed half-way), short (half of the bytes, as if they were all),
garbage, html, status404, status500, status503, status (give `status` and `headers`), stall (silence in mid-body),
hang (silence before the answer), slow (pauses between pieces), redirect (to `url`), wrong_range (206 with another
range), ignore_range (206 asked, 200 given), unsized (no Content-Length). Silences last `seconds`.
Faults of a table (key: its model, as EcephysUnit): status500, status503, hang, html, not_json, failure (success false),
empty_page (no rows of many), page (the answer is what ``change(answer)`` makes of it).
"""

import hashlib
import io
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

Records = dict[str, list[dict[str, Any]]]
Files = dict[int, bytes | Path]

# association in a query -> model, and the key of the record that refers to it
ASSOCIATIONS = {
    "ecephys_unit": ("EcephysUnit", "ecephys_unit_id"),
    "ecephys_channel": ("EcephysChannel", "ecephys_channel_id"),
    "ecephys_probe": ("EcephysProbe", "ecephys_probe_id"),
    "ecephys_session": ("EcephysSession", "ecephys_session_id"),
}
HTML = b"<html><body>Down for maintenance</body></html>"


@dataclass(frozen=True)
class Request:
    """What was asked: the path with its decoded query, and the headers."""

    path: str
    headers: Mapping[str, str]


@dataclass
class Fault:
    kind: str
    count: int
    options: dict[str, Any] = field(default_factory=dict)


class FakeWarehouse:
    """A context manager: the server runs inside of it.

    Parameters
    ----------
    records : model -> its records
    files : id of a file -> its content, or a path
    largest_page : rows of one answer at most, so that small tables come in pages
    validators : whether files have ETag and Last-Modified
    """

    def __init__(
        self, records: Records, files: Files, *, largest_page: int = 5000, validators: bool = True
    ) -> None:
        self.records = records
        self.files = dict(files)
        self.largest_page = largest_page
        self.validators = validators
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._faults: dict[int | str, list[Fault]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "FakeWarehouse":
        handler = type("Handler", (_Handler,), {"warehouse": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, file_id: int) -> str:
        return f"http://{self.host}/api/v2/well_known_file_download/{file_id}"

    def fault(self, key: int | str, kind: str, count: int = 1, **options: Any) -> None:
        """Let the next `count` requests for a file or model go wrong; several faults follow each other."""
        self._faults.setdefault(key, []).append(Fault(kind, count, options))

    def downloads(self, file_id: int) -> list[Request]:
        return [r for r in self.requests if r.path.endswith(f"well_known_file_download/{file_id}")]

    def queries(self, model: str) -> list[Request]:
        return [r for r in self.requests if f"model::{model}," in r.path]

    def next_fault(self, key: int | str) -> Fault:
        with self._lock:
            for fault in self._faults.get(key, []):
                if fault.count > 0:
                    fault.count -= 1
                    return fault
        return Fault("", 0)

    def content(self, file_id: int) -> bytes | None:
        content = self.files.get(file_id)
        return content.read_bytes() if isinstance(content, Path) else content

    # --- RMA ------------------------------------------------------------------------------------------

    def answer(self, criteria: str) -> dict[str, Any]:
        """Answer a query as the warehouse does."""
        model = re.match(r"criteria=model::(\w+)", criteria)
        if model is None or model[1] not in self.records:
            return self.failure(f"no model in {criteria}")
        rows = [r for r in self.records[model[1]] if self._is_chosen(r, criteria)]
        rows.sort(key=lambda r: r["id"])
        start, page = (
            int(found[1]) if (found := re.search(rf"\[{key}\$eq(\d+)\]", criteria)) else default
            for key, default in (("start_row", 0), ("num_rows", 50))
        )
        shown = rows[start : start + min(page, self.largest_page)]
        if tabular := re.search(r"tabular\$eq'([^']*)'", criteria):
            shown = [_tabular(row, tabular[1].split(",")) for row in shown]
        return {
            "success": True,
            "id": 0,
            "start_row": start,
            "num_rows": len(shown),
            "total_rows": len(rows),
            "msg": shown,
        }

    @staticmethod
    def failure(message: str) -> dict[str, Any]:
        return {"success": False, "id": 0, "start_row": 0, "num_rows": 0, "total_rows": 0, "msg": message}

    def _is_chosen(self, record: Mapping[str, Any], criteria: str) -> bool:
        """Tell whether a record fulfils rma::criteria: names of associations, nested, and [key$op values]."""
        part = re.search(r"rma::criteria,(.*?)(?:,rma::|$)", criteria)
        if part is None:
            return True
        subject: Mapping[str, Any] | None = record
        for name, filters in re.findall(r"(\w+)((?:\[[^\]]*\])*)", part[1]):
            if subject is None:
                return False
            if name in ASSOCIATIONS:
                model, key = ASSOCIATIONS[name]
                subject = next((r for r in self.records[model] if r["id"] == subject.get(key)), None)
                owner = subject
            else:  # a record inside of the record; later filters are of the record itself again
                owner = subject.get(name)
            for key, values in re.findall(r"\[(\w+)\$(?:in|eq)([^\]]*)\]", filters):
                wanted = [value.strip().strip("'") for value in values.split(",")]
                holder = owner if owner is not None and key in owner else subject
                if holder is None or str(holder.get(key)) not in wanted:
                    return False
        return True


def _tabular(record: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str | None]:
    """Return a row as tabular answers have it: every value is text."""
    row = {}
    for column in columns:
        source, _, name = column.partition(" as ")
        table, _, key = source.rpartition(".")
        holder = (record.get("structure") or {}) if table == "structures" else record
        value = holder.get(key)
        row[name or key] = None if value is None else str(value)
    return row


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    warehouse: FakeWarehouse
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = unquote(parts.query)
        path = parts.path + (f"?{query}" if query else "")
        self.warehouse.requests.append(Request(path, dict(self.headers)))
        try:
            if parts.path == "/api/v2/data/query.json":
                self._query(query)
            elif found := re.fullmatch(r"/api/v2/well_known_file_download/(\d+)", parts.path):
                self._download(int(found[1]))
            else:
                self._send(b"not found", 404)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has had enough

    def _query(self, criteria: str) -> None:
        warehouse = self.warehouse
        model = re.match(r"criteria=model::(\w+)", criteria)
        fault = warehouse.next_fault(model[1] if model else "")
        answer = warehouse.answer(criteria)
        if self._common_fault(fault):
            return
        if fault.kind == "not_json":
            self._send(b"Datastream read failure", 200)
            return
        if fault.kind == "failure":
            answer = warehouse.failure("Datastream read failure.")
        elif fault.kind == "empty_page":
            answer |= {"num_rows": 0, "msg": []}
        elif fault.kind == "page":
            change: Callable[[dict[str, Any]], Any] = fault.options["change"]
            answer = change(answer)
        self._send(json.dumps(answer).encode())

    def _common_fault(self, fault: Fault) -> bool:
        """Do what goes wrong with tables and files alike; tell whether that was the answer."""
        if fault.kind == "hang":
            self.warehouse.closing.wait(fault.options["seconds"])
            self.close_connection = True
        elif fault.kind == "html":
            self._send(HTML, 200, {"Content-Type": "text/html"})
        elif fault.kind.startswith("status"):
            status = int(fault.kind.removeprefix("status") or fault.options["status"])
            self._send(b"oops", status, fault.options.get("headers"))
        elif fault.kind == "redirect":
            self._send(b"", fault.options.get("status", 302), {"Location": fault.options["url"]})
        else:
            return False
        return True

    def _download(self, file_id: int) -> None:
        content = self.warehouse.content(file_id)
        fault = self.warehouse.next_fault(file_id)
        if content is None:
            self._send(b"no such file", 404)
            return
        if self._common_fault(fault):
            return
        if fault.kind == "garbage":
            content = np.random.default_rng(len(content)).bytes(len(content))
        elif fault.kind == "short":
            content = content[: len(content) // 2]
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"Accept-Ranges": "bytes"}
        if self.warehouse.validators:
            headers |= {"ETag": etag}
        first, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range", etag) == etag
        if asked and is_same and fault.kind != "ignore_range":
            first, status = int(asked[1]), 206
            if first >= len(content):
                self._send(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
                return
            told = first - 1 if fault.kind == "wrong_range" else first
            headers["Content-Range"] = f"bytes {told}-{len(content) - 1}/{len(content)}"
        self._send_slowly(content[first:], status, headers, fault)

    def _send_slowly(self, body: bytes, status: int, headers: Mapping[str, str], fault: Fault) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault.kind == "unsized":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        if fault.kind == "truncate":
            self.wfile.write(body[:half])
            self.close_connection = True
        elif fault.kind == "stall":
            self.wfile.write(body[:half])
            self.wfile.flush()
            self.warehouse.closing.wait(fault.options["seconds"])
            self.close_connection = True
        elif fault.kind == "slow":
            for piece in np.array_split(np.frombuffer(body, np.uint8), fault.options.get("pieces", 8)):
                self.wfile.write(piece.tobytes())
                self.wfile.flush()
                self.warehouse.closing.wait(fault.options["seconds"])
        else:
            self.wfile.write(body)

    def _send(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# --- a small project ----------------------------------------------------------------------------------

SESSION_IDS = (731000001, 731000002)
SESSION_TYPES = ("brain_observatory_1.1", "functional_connectivity")
STRUCTURES = (("VISp", 385), ("CA1", 382), ("LGd", 170))
FIRST_FILE = 9001
N_PROBES, N_CHANNELS, N_UNITS = 2, 24, 12


def small_project(
    session_nwbs: Mapping[int, bytes | Path] | None = None,
    lfp_nwbs: Mapping[int, bytes | Path] | None = None,
) -> tuple[Records, Files]:
    """Return the records and files of two sessions; ids are those of the example's session files.

    Each session has 2 probes of 24 channels (the last 4 out of the brain) and 12 units; the first probe of each
    says that it has LFP. The second session's animal has no genotype.

    Parameters
    ----------
    session_nwbs : session -> NWB file; a session that is left out has none. None: arbitrary bytes for both
    lfp_nwbs : probe -> LFP file. None: arbitrary bytes for the first probe of the first session
    """
    rng = np.random.default_rng(7)
    probe_ids = {s: [740_000_000 + 10 * (s % 1_000_000) + p for p in range(N_PROBES)] for s in SESSION_IDS}
    if session_nwbs is None:
        session_nwbs = {s: rng.bytes(300_000) for s in SESSION_IDS}
    if lfp_nwbs is None:
        lfp_nwbs = {probe_ids[SESSION_IDS[0]][0]: rng.bytes(200_000)}
    records: Records = {
        "EcephysSession": [],
        "EcephysProbe": [],
        "EcephysChannel": [],
        "EcephysUnit": [],
        "EcephysUnitMetricBundle": [],
        "WellKnownFile": [],
    }
    files: Files = {}

    def add_file(kind: str, owner: str, owner_id: int, path: str, content: bytes | Path) -> None:
        number = FIRST_FILE + len(files)
        files[number] = content
        records["WellKnownFile"].append(
            {
                "id": number,
                "attachable_id": owner_id,
                "attachable_type": owner,
                "download_link": f"/api/v2/well_known_file_download/{number}",
                "path": path,
                "well_known_file_type": {"name": kind},
            }
        )

    for n, session in enumerate(SESSION_IDS):
        if session in session_nwbs:
            path = f"/external/session_{session}/session_{session}.nwb"
            add_file("EcephysNwb", "EcephysSession", session, path, session_nwbs[session])
        records["EcephysSession"].append(_session_record(n, session, session in session_nwbs))
        for p, probe in enumerate(probe_ids[session]):
            records["EcephysProbe"].append(_probe_record(session, p, probe))
            if probe in lfp_nwbs:
                path = f"/external/session_{session}/probe_{probe}_lfp.nwb"
                add_file("EcephysLfpNwb", "EcephysProbe", probe, path, lfp_nwbs[probe])
            channels = [800_000_000 + 10_000 * (session % 10_000) + 1000 * p + k for k in range(N_CHANNELS)]
            for k, channel in enumerate(channels):
                records["EcephysChannel"].append(_channel_record(probe, k, channel))
            for k in range(N_UNITS):
                unit = 950_000_000 + 10_000 * (session % 1000) + p * N_UNITS + k
                records["EcephysUnit"].append(_unit_record(rng, unit, channels[k]))
                records["EcephysUnitMetricBundle"].append(_metrics_record(rng, n, unit))
    product = 714914585
    for number in (1, 3):
        movie = io.BytesIO()
        np.save(movie, rng.integers(0, 255, (5, 12, 16)).astype(np.uint8))
        path = f"/external/stimulus_templates/natural_movie_{number}.npy"
        add_file("Stimulus", "Product", product, path, movie.getvalue())
    for number in (0, 1):
        path = f"/external/stimulus_templates/natural_scenes/{number}.tiff"
        add_file("Stimulus", "Product", product, path, _scene(rng))
    path = "/external/stimulus_templates/warped/brain_observatory_warped.h5"
    add_file("Stimulus", "Product", product, path, b"of no known kind")
    return records, files


def _session_record(n: int, session: int, has_nwb: bool) -> dict[str, Any]:
    genotype = ("Sst-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt", None)[n]
    return {
        "id": session,
        "date_of_acquisition": f"2019-0{n + 1}-08T21:55:01Z",
        "fail_eye_tracking": False,
        "isi_experiment_id": (600000001, None)[n],
        "published_at": "2019-10-03T00:00:00Z",
        "specimen_id": 699000001 + n,
        "stimulus_name": SESSION_TYPES[n],
        "specimen": {"donor": {"age": {"days": 100.0 + n}, "sex": "MF"[n], "full_genotype": genotype}},
        "well_known_files": [{"well_known_file_type": {"name": "EcephysNwb"}}] if has_nwb else [],
    }


def _probe_record(session: int, p: int, probe: int) -> dict[str, Any]:
    return {
        "id": probe,
        "ecephys_session_id": session,
        "name": f"probe{'AB'[p]}",
        "phase": "3a",
        "sampling_rate": 29999.954846 + p,
        "lfp_sampling_rate": 2499.996237 + p,
        "lfp_temporal_subsampling_factor": 2.0,
        "air_channel_index": 22,
        "surface_channel_index": 20,
        "use_lfp_data": p == 0,
    }


def _channel_record(probe: int, k: int, channel: int) -> dict[str, Any]:
    is_inside = k < N_CHANNELS - 4
    acronym, structure = STRUCTURES[k * len(STRUCTURES) // N_CHANNELS]
    return {
        "id": channel,
        "ecephys_probe_id": probe,
        "local_index": k,
        "probe_horizontal_position": (43, 11, 59, 27)[k % 4],
        "probe_vertical_position": 20 * (k // 2 + 1),
        "anterior_posterior_ccf_coordinate": 8300.1 - k if is_inside else None,
        "dorsal_ventral_ccf_coordinate": 900.7 + k if is_inside else None,
        "left_right_ccf_coordinate": 8700.3 + k if is_inside else None,
        "structure": {"id": structure, "acronym": acronym} if is_inside else None,
    }


def _unit_record(rng: np.random.Generator, unit: int, channel: int) -> dict[str, Any]:
    numbers = [
        "PT_ratio",
        "amplitude",
        "amplitude_cutoff",
        "cumulative_drift",
        "d_prime",
        "duration",
        "firing_rate",
        "halfwidth",
        "isi_violations",
        "isolation_distance",
        "l_ratio",
        "max_drift",
        "nn_hit_rate",
        "nn_miss_rate",
        "presence_ratio",
        "recovery_slope",
        "repolarization_slope",
        "silhouette_score",
        "snr",
        "spread",
        "velocity_above",
        "velocity_below",
    ]
    good = {
        "amplitude_cutoff": rng.uniform(0, 0.08),
        "presence_ratio": 0.99,
        "isi_violations": rng.uniform(0, 0.4),
    }
    corner = {1: {"quality": "noise"}, 2: {"amplitude_cutoff": 0.2}, 3: {"isi_violations": None}}
    return {
        "id": unit,
        "ecephys_channel_id": channel,
        "epoch_name_quality_metrics": "complete_session",
        "epoch_name_waveform_metrics": "complete_session",
        "quality": "good",
        **{name: float(rng.normal(1.0, 0.1)) for name in numbers},
        **good,
        **corner.get(unit % N_UNITS, {}),
    }


def _metrics_record(rng: np.random.Generator, n: int, unit: int) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "g_osi_dg": float(rng.uniform()),
        "fano_fl": float("nan") if unit % N_UNITS == 4 else float(rng.gamma(2, 1)),
        # exchanged, as at the warehouse
        "on_screen_rf": float(rng.uniform()),
        "p_value_rf": bool(rng.random() < 0.5),
    }
    if n == 0:
        metrics["pref_image_ns"] = int(rng.integers(0, 118))
    return {"id": unit - 900_000_000, "ecephys_unit_id": unit, "data": json.dumps(metrics)}


def _scene(rng: np.random.Generator) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (18, 24)).astype(np.uint8)).save(buffer, format="TIFF")
    return buffer.getvalue()
