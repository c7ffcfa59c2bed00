"""Plots as SVG files: the same plot twice is the same bytes. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from model.files import whole_file

SVG_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    # Text stays text: small files, and the reader's fonts have every script.
    "svg.fonttype": "none",
    "svg.hashsalt": "retinaserve",  # ids inside the file, random otherwise
}
"""For `matplotlib.rc_context`."""


def save_svg(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all, inside the `rc_context` that it was drawn in."""
    with whole_file(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None})
