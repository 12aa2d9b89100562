"""The official releases of the contrast-agnostic model, by short name."""

from dataclasses import dataclass

from softcord.errors import ModelError

PROJECT = "https://github.com/sct-pipeline/contrast-agnostic-softseg-spinalcord"


@dataclass(frozen=True)
class Release:
    """A release that can be installed by its name.

    Attributes
    ----------
    name : str
        Under which it is installed.
    version : str
    url : str
    note : str
        What to know about it.
    sha256 : str or None
        Of the zip. None: not published; recorded when the release is first installed, required from then on.
    """

    name: str
    version: str
    url: str
    note: str
    sha256: str | None = None


def _release(version: str, asset: str, note: str) -> Release:
    url = f"{PROJECT}/releases/download/v{version}/{asset}"
    return Release(f"contrast-agnostic-v{version}", version, url, note)


RELEASES = (
    _release(
        "3.0", "model_contrast_agnostic_20250123.zip", "nnU-Net on the whole image, as in SCT 7.0 to 7.3"
    ),
    _release("4.0", "model_contrast_agnostic_20260628.zip", "nnU-Net trained on crops around the cord"),
)
# their checkpoints are of another framework, and what surrounds the network is not in them
_LIGHTNING = ("2.0", "2.3", "2.4", "2.5")


def find_release(name: str) -> Release | None:
    """The release of that name: `contrast-agnostic-v3.0`, or `v3.0` in short. None if it is no such name.

    Raises
    ------
    ModelError
        The release exists and cannot be used.
    """
    short = name.removeprefix("contrast-agnostic-")
    for release in RELEASES:
        if short in (f"v{release.version}", release.name):
            return release
    if short in {f"v{version}" for version in _LIGHTNING}:
        known = " or ".join(f"v{release.version}" for release in RELEASES)
        raise ModelError(
            f"{name}: this release holds a checkpoint of PyTorch Lightning (.ckpt), which is not read. "
            f"Install {known}."
        )
    return None
