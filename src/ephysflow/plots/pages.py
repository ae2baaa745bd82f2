"""Saves figures so that equal figures give equal bytes: no date, no version."""

from collections.abc import Iterable
from typing import BinaryIO

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

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
