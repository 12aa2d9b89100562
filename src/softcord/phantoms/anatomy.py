"""What a phantom's body looks like: the numbers that describe it, and how they are drawn.

Lengths are in mm, in the phantom's own frame: x to the right, y to the front, z to the head (RAS+). The cord
runs along z, so that an axial cross-section is a superellipse whose area follows from its parameters. Ranges:
areas 30–120 mm², as in atrophy and enlargement; shapes and curvature as in the literature on domain
randomisation of the spine.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import gamma

from softcord._typing import FloatArray
from softcord.softseg import EDGE_INSET_MM

STEP = 1.0  # mm between the entries of the tables along z
HALF_LENGTH = 400  # mm: the tables reach this far below and above z = 0


@dataclass(frozen=True, slots=True)
class Lesion:
    """An ellipsoid within the cord, in the cord's own units across (1 is its edge) and mm along it."""

    u: float
    v: float
    z: float
    radius_u: float
    radius_v: float
    radius_z: float


@dataclass(frozen=True)
class Anatomy:
    """One body. Tables have one entry per mm along z, from ``-HALF_LENGTH`` to ``HALF_LENGTH``.

    Attributes
    ----------
    centre_x, centre_y : (N,) array of float, mm
        Centre of the cord.
    half_rl, half_ap : (N,) array of float, mm
        Half the right-left and half the antero-posterior diameter of the cord.
    turn : (N,) array of float, rad
        Rotation of the cord's cross-section.
    exponent : float
        Of the superellipse: 2 is an ellipse, larger is boxier.
    bend : float
        How far the lateral edges lie in front of the middle, as a share of `half_ap` (area is kept).
    conus_z, top_z : float, mm
        Where the cord ends below and where it passes into the brainstem.
    rim : float, mm
        Thickness of what lies around the cord, as bright as the cord and no part of it: pia, and what raters
        leave out.
    has_cord : bool
        False: the canal holds fluid and nerve roots alone, or there is no canal at all.
    """

    centre_x: FloatArray
    centre_y: FloatArray
    half_rl: FloatArray
    half_ap: FloatArray
    turn: FloatArray
    exponent: float
    bend: float
    gap_rl: FloatArray
    gap_ap: FloatArray
    canal_shift_u: FloatArray
    canal_shift_v: FloatArray
    epidural: FloatArray
    conus_z: float
    top_z: float
    has_cord: bool
    has_spine: bool
    period: float
    phase: float
    disc_share: float
    body_rl: float
    body_ap: float
    disc_bulge: float
    arch: float
    spinous: float
    spinous_slope: float
    outline_rl: float
    outline_ap: float
    outline_shift: float
    fat: float
    tissue_scale: float
    grey_matter: float
    dura: float
    roots: int
    lesions: tuple[Lesion, ...] = ()
    syrinx: Lesion | None = None
    metal: tuple[tuple[float, float, float, float], ...] = ()
    vessels: tuple[tuple[float, float, float], ...] = ()
    airway: tuple[float, float, float] = (0.0, 45.0, 8.0)
    rim: float = EDGE_INSET_MM
    seed: int = 0
    table_z: FloatArray = field(default_factory=lambda: np.arange(-HALF_LENGTH, HALF_LENGTH + STEP, STEP))

    def areas_mm2(self, z: FloatArray) -> FloatArray:
        """True area of the cord in the axial plane at each height.

        Parameters
        ----------
        z : (K,) array of float, mm

        Returns
        -------
        areas : (K,) array of float, mm²
            4 a b Γ(1 + 1/p)² / Γ(1 + 2/p) for the superellipse with half axes a, b and exponent p; 0 beyond
            the ends.
        """
        a, b = (np.interp(z, self.table_z, table) for table in (self.half_rl, self.half_ap))
        shape = 4 * gamma(1 + 1 / self.exponent) ** 2 / gamma(1 + 2 / self.exponent)
        inside = (z >= self.conus_z) & (z <= self.top_z) & self.has_cord
        areas: FloatArray = np.where(inside, shape * a * b, 0.0)
        return areas


@dataclass(frozen=True, slots=True)
class AnatomyOptions:
    """What may be asked of an anatomy; everything else is drawn at random.

    Attributes
    ----------
    area_mm2 : (2,) tuple of float, mm²
        Range of the cord's mean area.
    half_rl, half_ap : float, mm, optional
        Fixed half diameters instead: a cord of known, constant cross-section.
    curved : bool
        Lordosis, kyphosis and scoliosis; False: a straight cord.
    pathology : bool
        Compression, lesions, syrinx and metal may occur.
    ends : bool
        The conus or the brainstem may be in view.
    cord : bool
        False: a body without a cord.
    rim_mm : float, mm
        See `Anatomy.rim`.
    """

    area_mm2: tuple[float, float] = (30.0, 120.0)
    half_rl: float | None = None
    half_ap: float | None = None
    curved: bool = True
    pathology: bool = True
    ends: bool = True
    cord: bool = True
    rim_mm: float = EDGE_INSET_MM


def draw_anatomy(rng: np.random.Generator, options: AnatomyOptions = AnatomyOptions()) -> Anatomy:
    """Draw a body at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    options : AnatomyOptions

    Returns
    -------
    anatomy : Anatomy
    """
    z = np.arange(-HALF_LENGTH, HALF_LENGTH + STEP, STEP)
    fixed = options.half_rl is not None and options.half_ap is not None
    half_rl, half_ap = _cord_size(rng, options, z)
    gap_rl, gap_ap, epidural = _canal(rng, z)
    if options.pathology and not fixed and rng.random() < 0.3:
        half_rl, half_ap, gap_ap = _compress(rng, z, half_rl, half_ap, gap_ap)
    conus_z, top_z = _ends(rng, options)
    if conus_z > -HALF_LENGTH:
        taper = np.clip((z - conus_z) / rng.uniform(15, 40), 0.0, 1) ** rng.uniform(0.5, 0.9)
        half_rl, half_ap = half_rl * np.maximum(taper, 0.08), half_ap * np.maximum(taper, 0.1)
        gap_rl, gap_ap = gap_rl + (1 - taper) * rng.uniform(2, 5), gap_ap + (1 - taper) * rng.uniform(2, 4)
    slack = rng.uniform(0, 0.9)
    wander = _wander(rng, z, 40.0, 1.0)
    has_spine = options.cord or rng.random() < 0.6
    body_rl = rng.uniform(8, 22)
    lesions, syrinx, metal = _pathology(rng) if options.pathology else ((), None, ())
    return Anatomy(
        centre_x=_course(rng, z, 8.0, 0.3) if options.curved else np.zeros_like(z),
        centre_y=_course(rng, z, 20.0, 0.5) if options.curved else np.zeros_like(z),
        half_rl=half_rl,
        half_ap=half_ap,
        turn=np.zeros_like(z) if fixed else _wander(rng, z, 60.0, 0.08) + rng.normal(0, 0.06),
        exponent=2.0 if fixed else float(rng.uniform(1.8, 2.7)),
        bend=0.0 if fixed else float(rng.uniform(-0.15, 0.3)),
        gap_rl=gap_rl,
        gap_ap=gap_ap,
        canal_shift_u=slack * 0.4 * gap_rl * np.tanh(_wander(rng, z, 50.0, 0.7)),
        canal_shift_v=slack * gap_ap * np.tanh(wander + rng.normal(0, 0.7)),
        epidural=epidural,
        conus_z=conus_z,
        top_z=top_z,
        has_cord=options.cord,
        has_spine=has_spine,
        period=float(rng.uniform(13, 34)),
        phase=float(rng.uniform(0, 1)),
        disc_share=float(rng.uniform(0.15, 0.4)),
        body_rl=float(body_rl),
        body_ap=float(body_rl * rng.uniform(0.65, 1.0)),
        disc_bulge=float(rng.uniform(-0.5, 2.0)),
        arch=float(rng.uniform(2, 7)),
        spinous=float(rng.uniform(8, 40)),
        spinous_slope=float(rng.uniform(0, 0.8)),
        outline_rl=float(rng.uniform(45, 85) if rng.random() < 0.7 else rng.uniform(110, 190)),
        outline_ap=float(rng.uniform(45, 80) if rng.random() < 0.7 else rng.uniform(80, 130)),
        outline_shift=float(rng.uniform(0, 30)),
        fat=float(rng.uniform(2, 20)),
        tissue_scale=float(rng.uniform(6, 25)),
        grey_matter=float(rng.uniform(0.8, 1.2)),
        dura=float(rng.choice([0.0, rng.uniform(0.2, 0.8)])),
        roots=int(rng.integers(0, 3)),
        lesions=lesions,
        syrinx=syrinx,
        metal=metal,
        vessels=_vessels(rng),
        airway=(float(rng.normal(0, 3)), float(rng.uniform(28, 55)), float(rng.uniform(4, 12))),
        rim=options.rim_mm,
        seed=int(rng.integers(2**31)),
    )


def _wander(rng: np.random.Generator, z: FloatArray, wavelength: float, size: float) -> FloatArray:
    """A smooth random function of z with standard deviation near `size`."""
    knots = np.arange(z[0] - 2 * wavelength, z[-1] + 3 * wavelength, wavelength)
    table: FloatArray = PchipInterpolator(knots, rng.normal(0, size, knots.size))(z)
    return table


def _course(rng: np.random.Generator, z: FloatArray, sway: float, lean: float) -> FloatArray:
    """Displacement of the cord across z: long waves, a short one, and a lean (mm per mm)."""
    wave: FloatArray = (
        _wander(rng, z, 110.0, sway * rng.uniform(0.1, 0.8))
        + _wander(rng, z, 45.0, sway * 0.06)
        + z * lean * rng.normal(0, 0.4)
    )
    return wave - np.interp(0.0, z, wave)


def _cord_size(
    rng: np.random.Generator, options: AnatomyOptions, z: FloatArray
) -> tuple[FloatArray, FloatArray]:
    if options.half_rl is not None and options.half_ap is not None:
        return np.full_like(z, options.half_rl), np.full_like(z, options.half_ap)
    low, high = options.area_mm2
    area = low + (high - low) * rng.beta(2, 2.2)
    ratio = rng.uniform(0.45, 0.95)  # AP over RL diameter
    half_rl = np.sqrt(area / (np.pi * ratio))
    swell = 1 + 0.5 * _wander(rng, z, 60.0, 0.12)
    half_rl_table = half_rl * np.clip(swell + _wander(rng, z, 30.0, 0.04), 0.6, 1.6)
    half_ap_table = (
        half_rl * ratio * np.clip(swell ** rng.uniform(0, 1) + _wander(rng, z, 30.0, 0.04), 0.6, 1.5)
    )
    return half_rl_table, half_ap_table


def _canal(rng: np.random.Generator, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    gap_rl = np.clip(rng.uniform(1.5, 6.0) + _wander(rng, z, 25.0, 0.6), 0.4, None)
    gap_ap = np.clip(rng.uniform(0.7, 4.5) + _wander(rng, z, 25.0, 0.6), 0.1, None)
    epidural = np.clip(rng.uniform(0.0, 3.0) + _wander(rng, z, 15.0, 0.8), 0.0, None)
    return gap_rl, gap_ap, epidural


def _compress(
    rng: np.random.Generator, z: FloatArray, half_rl: FloatArray, half_ap: FloatArray, gap_ap: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    for _ in range(rng.integers(1, 4)):
        bump = np.exp(-0.5 * ((z - rng.uniform(-60, 60)) / rng.uniform(4, 12)) ** 2)
        loss = rng.uniform(0.1, 0.6)
        half_ap = half_ap * (1 - loss * bump)
        half_rl = half_rl * (1 + 0.4 * loss * bump)
        gap_ap = np.clip(gap_ap * (1 - 0.95 * bump), 0.05, None)
    return half_rl, half_ap, gap_ap


def _ends(rng: np.random.Generator, options: AnatomyOptions) -> tuple[float, float]:
    conus_z, top_z = -float(HALF_LENGTH) - 1, float(HALF_LENGTH) + 1
    if options.ends:
        draw = rng.random()
        if draw < 0.15:
            conus_z = float(rng.uniform(-60, 30))
        elif draw < 0.3:
            top_z = float(rng.uniform(-10, 80))
    return conus_z, top_z


def _pathology(
    rng: np.random.Generator,
) -> tuple[tuple[Lesion, ...], Lesion | None, tuple[tuple[float, float, float, float], ...]]:
    def spot(largest: float) -> Lesion:
        u, v = (float(x) for x in rng.uniform(-0.7, 0.7, 2))
        z = float(rng.uniform(-40, 40))
        radius_u, radius_v = (float(x) for x in rng.uniform(0.15, largest, 2))
        return Lesion(u, v, z, radius_u, radius_v, float(rng.uniform(2, 20)))

    lesions = tuple(spot(0.7) for _ in range(rng.integers(1, 5))) if rng.random() < 0.25 else ()
    syrinx = None
    if rng.random() < 0.05:
        z = float(rng.uniform(-30, 30))
        radius_u, radius_v = (float(x) for x in rng.uniform(0.2, 0.6, 2))
        syrinx = Lesion(0.0, 0.0, z, radius_u, radius_v, 30.0)
    metal: tuple[tuple[float, float, float, float], ...] = ()
    if rng.random() < 0.05:
        metal = tuple(
            (
                float(rng.uniform(-25, 25)),
                float(rng.uniform(-25, 30)),
                float(rng.uniform(-40, 40)),
                float(rng.uniform(3, 9)),
            )
            for _ in range(rng.integers(1, 4))
        )
    return lesions, syrinx, metal


def _vessels(rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    vessels = []
    for u, v, radius in ((16, 5, 1.8), (26, 24, 3.0), (32, 22, 4.5), (12, -20, 1.2), (22, 2, 1.5)):
        for side in (-1, 1):
            if rng.random() < 0.75:
                place = side * u + rng.normal(0, 2.5), v + rng.normal(0, 3)
                vessels.append((float(place[0]), float(place[1]), float(radius * rng.uniform(0.5, 1.5))))
    return tuple(vessels)
