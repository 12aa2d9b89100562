"""Views to small files that a browser lays over one another: grey pictures, and shares of cord as they are.

The browser draws outline and colours from the shares, so that their style is chosen while looking.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image as Picture

from softcord.qc.views import View

_QUALITY = 78


def encode(view: View) -> dict[str, Any]:
    """A view as the page takes it.

    Parameters
    ----------
    view : View
        What to draw.

    Returns
    -------
    dict
        ``width``, ``height``; ``grey``, a JPEG file, and ``share``, a PNG file with 255 for a whole voxel (or
        the index of its label), as ``data:`` addresses; ``words``, a list of text, row, column.
    """
    height, width = view.grey.shape
    over = np.round(view.soft * 255) if view.parts is None else view.parts
    return {
        "width": width,
        "height": height,
        "grey": _address(np.round(view.grey * 255).astype(np.uint8), "JPEG", quality=_QUALITY, optimize=True),
        "share": _address(over.astype(np.uint8), "PNG"),
        "words": [[label.text, round(label.row, 1), round(label.column, 1)] for label in view.labels],
    }


def _address(values: np.ndarray, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(values).save(buffer, format=kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
