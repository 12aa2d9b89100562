"""The tissues of a phantom, and random grey levels for them."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from softcord._typing import FloatArray


class Tissue(IntEnum):
    """What a voxel of a phantom is; the numbers are those of its label image."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    SOFT_A = 3
    SOFT_B = 4
    SOFT_C = 5
    MARROW = 6
    CORTEX = 7
    DISC = 8
    LIGAMENT = 9
    EPIDURAL = 10
    DURA = 11
    CSF = 12
    ROOT = 13
    WHITE = 14
    GREY = 15
    LESION = 16
    SYRINX = 17
    VESSEL = 18
    AIRWAY = 19
    METAL = 20
    BRAIN = 21
    SKIN = 22


T = Tissue

# Grey levels (0–1) of common contrasts, as an order of tissues rather than as physics; each draw is jittered.
_ORDERS: dict[str, dict[Tissue, float]] = {
    "T1w": {
        T.FAT: 0.95, T.MUSCLE: 0.4, T.MARROW: 0.65, T.CORTEX: 0.1, T.DISC: 0.35, T.LIGAMENT: 0.15,
        T.EPIDURAL: 0.9, T.DURA: 0.2, T.CSF: 0.15, T.ROOT: 0.4, T.WHITE: 0.55, T.GREY: 0.48, T.LESION: 0.42,
        T.SYRINX: 0.18, T.VESSEL: 0.3, T.BRAIN: 0.5,
    },
    "T2w": {
        T.FAT: 0.75, T.MUSCLE: 0.2, T.MARROW: 0.4, T.CORTEX: 0.08, T.DISC: 0.45, T.LIGAMENT: 0.1,
        T.EPIDURAL: 0.7, T.DURA: 0.15, T.CSF: 0.95, T.ROOT: 0.4, T.WHITE: 0.35, T.GREY: 0.42, T.LESION: 0.6,
        T.SYRINX: 0.9, T.VESSEL: 0.1, T.BRAIN: 0.42,
    },
    "T2star": {
        T.FAT: 0.6, T.MUSCLE: 0.4, T.MARROW: 0.2, T.CORTEX: 0.08, T.DISC: 0.5, T.LIGAMENT: 0.2, T.EPIDURAL:
        0.45, T.DURA: 0.3, T.CSF: 0.85, T.ROOT: 0.5, T.WHITE: 0.5, T.GREY: 0.62, T.LESION: 0.7, T.SYRINX:
        0.85, T.VESSEL: 0.85, T.BRAIN: 0.55,
    },
    "MToff": {
        T.FAT: 0.85, T.MUSCLE: 0.55, T.MARROW: 0.35, T.CORTEX: 0.1, T.DISC: 0.5, T.LIGAMENT: 0.2, T.EPIDURAL:
        0.7, T.DURA: 0.3, T.CSF: 0.72, T.ROOT: 0.55, T.WHITE: 0.52, T.GREY: 0.6, T.LESION: 0.65, T.SYRINX:
        0.75, T.VESSEL: 0.9, T.BRAIN: 0.55,
    },
    "MTon": {
        T.FAT: 0.8, T.MUSCLE: 0.25, T.MARROW: 0.4, T.CORTEX: 0.1, T.DISC: 0.4, T.LIGAMENT: 0.12, T.EPIDURAL:
        0.7, T.DURA: 0.3, T.CSF: 0.75, T.ROOT: 0.4, T.WHITE: 0.35, T.GREY: 0.42, T.LESION: 0.5, T.SYRINX:
        0.7, T.VESSEL: 0.7, T.BRAIN: 0.42,
    },
    "DWI": {
        T.FAT: 0.12, T.MUSCLE: 0.15, T.MARROW: 0.1, T.CORTEX: 0.05, T.DISC: 0.15, T.LIGAMENT: 0.08,
        T.EPIDURAL: 0.1, T.DURA: 0.15, T.CSF: 0.2, T.ROOT: 0.4, T.WHITE: 0.85, T.GREY: 0.75, T.LESION: 0.8,
        T.SYRINX: 0.2, T.VESSEL: 0.05, T.BRAIN: 0.75,
    },
    "EPI": {
        T.FAT: 0.1, T.MUSCLE: 0.3, T.MARROW: 0.1, T.CORTEX: 0.05, T.DISC: 0.3, T.LIGAMENT: 0.1, T.EPIDURAL:
        0.15, T.DURA: 0.3, T.CSF: 0.9, T.ROOT: 0.5, T.WHITE: 0.55, T.GREY: 0.6, T.LESION: 0.6, T.SYRINX:
        0.85, T.VESSEL: 0.3, T.BRAIN: 0.6,
    },
    "STIR": {
        T.FAT: 0.08, T.MUSCLE: 0.3, T.MARROW: 0.15, T.CORTEX: 0.05, T.DISC: 0.5, T.LIGAMENT: 0.1,
        T.EPIDURAL: 0.1, T.DURA: 0.15, T.CSF: 0.95, T.ROOT: 0.45, T.WHITE: 0.42, T.GREY: 0.5, T.LESION:
        0.75, T.SYRINX: 0.9, T.VESSEL: 0.2, T.BRAIN: 0.5,
    },
    "MP2RAGE": {
        T.FAT: 0.85, T.MUSCLE: 0.45, T.MARROW: 0.6, T.CORTEX: 0.3, T.DISC: 0.4, T.LIGAMENT: 0.3, T.EPIDURAL:
        0.8, T.DURA: 0.25, T.CSF: 0.08, T.ROOT: 0.6, T.WHITE: 0.85, T.GREY: 0.6, T.LESION: 0.45, T.SYRINX:
        0.1, T.VESSEL: 0.5, T.BRAIN: 0.65,
    },
}  # fmt: skip
CONTRASTS = tuple(_ORDERS)


@dataclass(frozen=True, slots=True)
class Palette:
    """Grey level, texture strength and texture wavelength (mm) of each tissue, indexed by `Tissue`."""

    level: FloatArray
    texture: FloatArray
    wavelength: tuple[float, float]


def draw_palette(rng: np.random.Generator, contrast: str | None = None) -> Palette:
    """Draw grey levels at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    contrast : {"T1w", "T2w", "T2star", "MToff", "MTon", "DWI", "EPI", "STIR", "MP2RAGE", "random"}, optional
        The order of the tissues' grey levels; "random": any grey level for any tissue. Default: two of
        five draws are random, the others take one of the contrasts.

    Returns
    -------
    palette : Palette
        In seven draws of ten the cord differs from the fluid around it by at least 15 % of the range, in
        nine by 8 %; nerve roots differ from the fluid by half of that.
    """
    if contrast is None:
        contrast = "random" if rng.random() < 0.4 else str(rng.choice(CONTRASTS))
    if contrast != "random" and contrast not in _ORDERS:
        raise ValueError(f"contrast must be one of {', '.join(CONTRASTS)} or random, got {contrast!r}.")
    enough = float(rng.choice([0.15, 0.08, 0.03], p=[0.7, 0.2, 0.1]))
    while True:
        level = rng.uniform(0.03, 1, len(Tissue)).astype(np.float32)
        if contrast == "random":
            grey = level[T.WHITE] + rng.normal(0, 0.08)
        else:
            jitter = rng.uniform(0.02, 0.12)
            for tissue, value in _ORDERS[contrast].items():
                level[tissue] = value + rng.normal(0, jitter)
            level[[T.SOFT_A, T.SOFT_B, T.SOFT_C]] = level[T.MUSCLE] * rng.uniform(0.4, 1.8, 3)
            grey = level[T.GREY]
        level[T.GREY] = grey
        level[T.AIR] = rng.uniform(0, 0.05) if rng.random() < 0.9 else rng.uniform(0, 1)
        level[T.AIRWAY] = level[T.AIR]
        level[T.METAL] = 0.0
        if rng.random() < 0.3:
            level[T.ROOT] = level[T.WHITE]
        if abs(level[T.WHITE] - level[T.CSF]) >= enough <= 2 * abs(level[T.ROOT] - level[T.CSF]):
            break
    texture = rng.uniform(0.0, 0.12, len(Tissue)) * (rng.random(len(Tissue)) < 0.8)
    texture[[T.WHITE, T.GREY]] = rng.uniform(0, 0.05)
    texture[T.CSF] = rng.uniform(0, 0.15) if rng.random() < 0.5 else 0.02  # flow voids
    texture[T.AIR] = 0.0
    wavelength = float(rng.uniform(1.5, 4)), float(rng.uniform(5, 20))
    return Palette(np.clip(level, 0, 1.1).astype(np.float32), texture.astype(np.float32), wavelength)
