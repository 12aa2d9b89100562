"""Views to PNG, with matplotlib's object interface: no display, no state shared with other figures."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from softcord.errors import MissingExtraError
from softcord.qc.views import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTLINE_COLOUR = "#22e6ff"
_DPI = 100
_LOWEST_LINE = 0.01  # a line at 0 would run anywhere outside the cord


def draw(view: View, *, threshold: float = 0.5) -> tuple[str, str]:
    """Draw a view as two pictures of one size: the image, and the segmentation to lay over it.

    Parameters
    ----------
    view : View
        What to draw.
    threshold : float in [0, 1)
        Share of cord at which the line is drawn; for less than 0.01, at 0.01.

    Returns
    -------
    background, overlay : str
        PNG files as ``data:`` addresses; the overlay is transparent outside the cord.
    """
    figure, axes = _canvas(view)
    axes.imshow(view.grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for label in view.labels:
        axes.text(label.column, label.row, label.text, color="#ffd54a", fontsize=8, ha="left", va="top")
    background = _as_address(figure)
    figure, axes = _canvas(view)
    axes.imshow(_colours(view), interpolation="nearest")
    level = max(threshold, _LOWEST_LINE)
    if view.soft.max() > level > view.soft.min():
        axes.contour(view.soft, levels=[level], colors=[OUTLINE_COLOUR], linewidths=1.0)
    return background, _as_address(figure)


def _colours(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(H, W, 4) colours from red to yellow, more opaque the larger the share of cord."""
    share = view.soft
    return np.stack(
        [np.ones_like(share), 0.15 + 0.75 * share, np.full_like(share, 0.1), 0.4 * share],
        axis=-1,
        dtype=np.float32,
    )


def _canvas(view: View) -> "tuple[Figure, Axes]":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The review page needs matplotlib. Run: pip install matplotlib") from error
    height, width = view.grey.shape
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    return figure, axes


def _as_address(figure: "Figure") -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, transparent=True, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
