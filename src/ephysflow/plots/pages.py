"""Saves figures so that equal figures give equal bytes: no date, no version."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from ephysflow.io.atomic import replacing
from ephysflow.plots.style import styled


@styled
def save_pages(figures: Iterable[Figure], stream: BinaryIO) -> None:
    """Write `figures` as the pages of one PDF into `stream`; each may be dropped once it is written."""
    metadata = {"Creator": "ephysflow", "Producer": None, "CreationDate": None}
    with PdfPages(stream, metadata=metadata) as pages:
        for figure in figures:
            pages.savefig(figure)


@styled
def save_png(figure: Figure, stream: BinaryIO, dpi: int = 150) -> None:
    """Write one figure as PNG into `stream`."""
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})


def write_pages(path: Path, figures: Iterable[Figure], without: str) -> None:
    """Write a PDF with one page a figure; with a page that says `without` where there is none."""
    pages = iter(figures)
    first = next(pages, None) or text_figure(without)
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        save_pages(chain([first], pages), stream)


def text_figure(text: str) -> Figure:
    """Return a page that says why there is nothing to draw."""
    figure = Figure(figsize=(6, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
