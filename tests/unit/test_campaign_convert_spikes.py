"""A table of spikes becomes a campaign that our readers, and libsonata, read."""

import argparse
import shutil
from pathlib import Path

import libsonata
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ephysflow.campaign.campaign_file import read_campaign
from ephysflow.campaign.convert_spikes import MAX_NODES, convert_spikes, read_table_of_spikes
from ephysflow.cli import convert_spikes as command
from ephysflow.errors import ConfigurationError
from ephysflow.sonata.nodes import node_set_ids, open_population
from ephysflow.sonata.simulation_config import read_simulation
from ephysflow.sonata.spikes import read_spikes


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "spikes.csv"
    path.write_text("node_ids timestamps\n3 10.5\n1 2\n3 2\n")
    return path


def test_the_campaign_is_whole_and_may_be_moved(table, tmp_path):
    files = convert_spikes(table, tmp_path / "first", "cells")
    assert all(file.is_file() for file in files)
    out = Path(shutil.move(tmp_path / "first", tmp_path / "second"))
    analysis = yaml.safe_load((out / "analysis.yaml").read_text())
    campaign = read_campaign(out / analysis["simulation_campaign"])
    assert campaign.conditions == [{}]
    simulation = read_simulation(Path(campaign.paths[0]))
    population = open_population(simulation.circuit, "cells")
    assert population.size == 4
    assert node_set_ids(simulation.node_sets_files, "All", population).tolist() == [0, 1, 2, 3]
    gid, time = read_spikes(simulation.spikes_file, "cells")
    assert (gid.tolist(), time.tolist()) == ([1, 3, 3], [2, 2, 10.5])
    extraction = analysis["analysis"]["spikes"]["extraction"]
    assert extraction["population"] == "cells"
    assert extraction["windows"]["all"]["bounds"] == [0, 11]
    assert simulation.tstop == 11
    assert not any(str(tmp_path).encode() in (out / file.name).read_bytes() for file in out.glob("*.*"))


def test_libsonata_reads_it(table, tmp_path):
    convert_spikes(table, tmp_path / "out", "cells")
    config = libsonata.SimulationConfig.from_file(str(tmp_path / "out/simulation/simulation_config.json"))
    circuit = libsonata.CircuitConfig.from_file(config.network)
    assert circuit.node_population("cells").size == 4
    spikes = libsonata.SpikeReader(config.output.spikes_file)["cells"]
    assert spikes.sorting == "by_time"
    assert spikes.get_dict()["timestamps"].tolist() == [2, 2, 10.5]


def test_the_window_holds_a_spike_at_a_whole_millisecond(tmp_path):
    (tmp_path / "spikes.csv").write_text("ids times\n0 0\n0 5\n")
    convert_spikes(tmp_path / "spikes.csv", tmp_path / "out", "cells")
    analysis = yaml.safe_load((tmp_path / "out/analysis.yaml").read_text())["analysis"]["spikes"]
    assert analysis["extraction"]["windows"]["all"]["bounds"] == [0, 6]


@pytest.mark.parametrize(
    "text",
    [
        "ids times\n3 10.5\n1 2\n",
        "ids,times\n3,10.5\n\n 1 , 2\n",
        "node_ids\ttimestamps\r\n3\t10.5\r\n1\t2e0",
        "timestamps node_ids\n10.5 3\n  2   1  \n",
        "\ufefftimes,ids\n10.5,3\n2,1\n",
    ],
)
def test_spellings_of_the_table(tmp_path, text):
    path = tmp_path / "spikes.csv"
    path.write_text(text, encoding="utf-8", newline="")
    ids, times = read_table_of_spikes(path)
    assert (ids.dtype, times.dtype) == (np.dtype("int64"), np.dtype("float64"))
    assert (ids.tolist(), times.tolist()) == ([3, 1], [10.5, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must be 'node_ids timestamps' or 'ids times', not ''"),
        ("3 10.5\n", "line 1: the header must be"),
        ("ids timestamps\n", "line 1: the header must be"),
        ("ids times\n", "holds no spikes"),
        ("ids times\n1 2\n\n1\n", "line 4: 1 values instead of 2: '1'"),
        ("ids times\n1 2 3\n", "line 2: 3 values instead of 2"),
        ("ids times\n1.0 2\n", "line 2: node id '1.0' is not a whole number from 0"),
        ("ids times\n-1 2\n", "line 2: node id '-1'"),
        (f"ids times\n{MAX_NODES} 2\n", f"from 0 to {MAX_NODES - 1}"),
        (f"ids times\n{'9' * 5000} 2\n", "is not a whole number"),
        ("ids times\n1 2\n1 x\n", "line 3: time 'x' is not a number of ms"),
        ("ids times\n1 nan\n", "line 2: time 'nan'"),
        ("ids times\n1 inf\n", "line 2: time 'inf'"),
        ("ids times\n1 -0.1\n", "line 2: time '-0.1'"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "spikes.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        convert_spikes(path, tmp_path / "out", "cells")
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_binary_tables(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_table_of_spikes(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not text"):
        read_table_of_spikes(tmp_path / "binary")


@pytest.mark.parametrize("name", ["", "a/b", "..", "0", "a\n", 'a"', "é"])
def test_names_are_checked(table, tmp_path, name):
    with pytest.raises(ConfigurationError, match="a name begins with a letter"):
        convert_spikes(table, tmp_path / "out", name)


def test_nothing_is_replaced(table, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/campaign.json").write_text("mine")
    with pytest.raises(ConfigurationError, match="campaign.json is already there"):
        convert_spikes(table, tmp_path / "out", "cells")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["campaign.json"]


def test_command(table, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(table), str(tmp_path / "out")])) == 0
    assert str(tmp_path / "out/analysis.yaml") in capsys.readouterr().out
    assert "synthetic" in (tmp_path / "out/circuit/circuit_config.json").read_text()


@given(rows=st.lists(st.tuples(st.integers(0, MAX_NODES - 1), st.floats(0, 1e12)), min_size=1))
def test_any_table_is_read_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any_spikes.csv"
    path.write_text("ids,times\n" + "".join(f"{node},{time!r}\n" for node, time in rows))
    ids, times = read_table_of_spikes(path)
    assert list(zip(ids.tolist(), times.tolist(), strict=True)) == rows
