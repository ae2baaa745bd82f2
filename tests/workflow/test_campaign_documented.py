"""BlueETL's documented example, from its own YAML, as a user runs it: two lines of configuration and ``snakemake``."""

from pathlib import Path

from ephysflow import open_results

from .folders import Folder, write_config


def test_the_documented_example(shared, tmp_path):
    folder = Folder.checkout(tmp_path / "w")
    analysis = shared / "golden/campaign/_data/doc/analysis/config.yaml"
    config = {"results": "results", "plots": False, "campaign": {"doc": {"analysis_config": str(analysis)}}}
    write_config(folder.path / "own.yaml", config)
    done = folder.snakemake("-c2", "--configfile", "own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    # BlueETL's notebook 02 shows these shapes
    found = open_results(folder.path / "results").campaign.doc.spikes
    assert len(found.repo.report.df) == 64
    features = [name for name in found.features.names if name[-1].isdigit()]
    assert len(features) == 60
    assert all(len(name.split("_")) > 3 for name in features)
    by_class = found.features.by_neuron_class
    assert by_class.df.shape == (144, 12)
    assert by_class.df["ratio"].unique().tolist() == [0.25, 0.5, 0.75]
    assert by_class.aliases["alias"].tolist() == ["ratio", "bin_size", "param1", "param2"]
    assert found.features["by_neuron_class_2_1__1"].df.attrs["config"]["params"] == {
        "export_all_neurons": True,
        "ratio": 0.75,
        "nested_example": {"params": {"bin_size": 2}},
        "param1": 20,
        "param2": 21,
    }
    # no parameter that varies is read by the function: its tables are one file under twelve names
    files = {
        path.stat().st_ino for path in Path(found.folder / "features").glob("by_neuron_class_?_?__?.parquet")
    }
    assert len(files) == 1
    planned = folder.snakemake("-n", "--configfile", "own.yaml")
    assert "Nothing to be done" in planned.stdout + planned.stderr
