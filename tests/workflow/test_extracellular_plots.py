"""Plots of weights files: what is drawn, and when there is little to draw."""

from pathlib import Path

import numpy as np
import pytest

from ephysflow import paths
from ephysflow.plan import read_job
from ephysflow.planning import plan_workflow
from ephysflow.plots.extracellular import distance_figure, place_figure
from ephysflow.plots.extracellular_step import plot_weights
from tests.circuits import run_planned
from tests.small_circuit import configuration, write_small_circuit

CSD = "name,x,y,z,type\na,0,0,0,ObjectiveCSD_Sphere\nb,0,50,0,ObjectiveCSD_Sphere\n"


@pytest.fixture
def plots(tmp_path, monkeypatch):
    """Run a small circuit with one more weights file, of objective CSD only, and return how to draw one of them."""
    monkeypatch.chdir(tmp_path)
    write_small_circuit(tmp_path)
    (tmp_path / "csd.csv").write_text(CSD)

    def draw(name, **settings):
        weights = configuration()["extracellular"]["c"]["weights"]
        weights["csd"] = {"arrays": {"csd": {"electrodes": "csd.csv"}}}
        plan, plan_file = plan_workflow(configuration(weights=weights, **settings))
        assert run_planned(plan, plan_file) == {}
        plot_weights(read_job(plan_file, "plot_weights", ["c", name]))
        return paths.circuit_plot(Path("results"), "c", name).read_bytes()

    return draw


def pages(pdf: bytes) -> int:
    return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ")


def test_places_distances_and_a_cell(plots):
    first = plots("probe")
    assert pages(first) == 3
    assert plots("probe") == first


def test_regions_have_no_distances(plots):
    assert pages(plots("csd")) == 1


def test_cells_without_morphologies_are_left_out(plots, tmp_path):
    (tmp_path / "morphologies" / "basket.swc").unlink()
    assert pages(plots("probe", missing_morphologies="nan")) == 3


def test_all_coefficients_unknown(plots, tmp_path):
    for name in ("basket", "pyramid"):
        (tmp_path / "morphologies" / f"{name}.swc").unlink()
    assert pages(plots("points", missing_morphologies="nan")) >= 1


def test_points_and_guide():
    distances, names = np.array([[1.0, 10.0], [2.0, np.nan]]), ["a", "b"]
    figure = distance_figure("t", distances, 1 / distances, names, "mV/nA")
    (axes,) = figure.axes
    assert [collection.get_label() for collection in axes.collections] == names
    assert [len(collection.get_offsets()) for collection in axes.collections] == [2, 1]
    guide = axes.lines[0]
    np.testing.assert_allclose(guide.get_ydata() * guide.get_xdata(), 1 / (4 * np.pi * 0.3))


def test_both_sides_show_everything():
    somata, contacts = np.array([[0.0, 0, 0], [100, 50, -20]]), np.array([[500.0, -900, 30]])
    for axes, across in zip(place_figure("t", somata, contacts, ["e"]).axes, (0, 2), strict=True):
        low, high = axes.get_xlim()
        assert low < min(somata[:, across].min(), contacts[0, across])
        assert high > max(somata[:, across].max(), contacts[0, across])
        assert axes.get_ylim()[0] < -900
