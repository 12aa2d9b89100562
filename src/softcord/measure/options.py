"""What `softcord csa` is asked for."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from softcord import norms
from softcord.errors import UsageError
from softcord.morphometrics import Definition
from softcord.norms import Sex

Rows: TypeAlias = Literal["all", "level", "slice"]
Interval: TypeAlias = Literal["auto", "mask", "network"]


@dataclass(frozen=True, slots=True)
class CsaOptions:
    """What is measured, and how it is summed up.

    Attributes
    ----------
    rows : {"all", "level", "slice"}
        One row for all chosen slices, one per vertebral level, or one per slice.
    vert : tuple of int
        Vertebral levels to choose, 1 for C1. Default: all.
    slices : tuple of (int, int)
        Ranges of slices to choose, both ends included; 0 is the lowest of the volume. Default: all.
    pmj_distance_mm : float, mm, optional
        Choose the slices around this distance below the pontomedullary junction, along the centreline.
    pmj_extent_mm : float, mm
        Length of cord that is chosen there.
    pam50 : bool
        Bring the slices to the scale of the PAM50 template: the same number in each level for everybody.
    definition : {"softcord", "sct"}, optional
        Whose definitions, see `softcord.morphometrics.measure_slices`. Default: softcord's; SCT's for a table
        in SCT's format.
    angle_correction : bool
        Measure across the cord (default), not in the plane of the slice.
    interval : {"auto", "mask", "network"}
        Intervals of a mask as it is, or of one that softcord's network predicted. ``"auto"``: the latter if
        the sidecar says so.
    sex : {"all", "F", "M"}
        Whose norms.
    norms : str, optional
        Compare with healthy people of this dataset. Default: with none, unless a sex is given.
    volume : int, optional
        Which volume of a 4-D mask, counted from 0.
    """

    rows: Rows = "all"
    vert: tuple[int, ...] = ()
    slices: tuple[tuple[int, int], ...] = ()
    pmj_distance_mm: float | None = None
    pmj_extent_mm: float = 20.0
    pam50: bool = False
    definition: Definition | None = None
    angle_correction: bool = True
    interval: Interval = "auto"
    sex: Sex = "all"
    norms: str | None = None
    volume: int | None = None

    def check(self, *, has_levels: bool, has_pmj: bool) -> None:
        """Raise UsageError if options cannot be, or contradict each other or what was given beside them.

        Parameters
        ----------
        has_levels, has_pmj : bool
            Whether levels and the pontomedullary junction are given.
        """
        for name, value, known in (
            ("rows", self.rows, ("all", "level", "slice")),
            ("definition", self.definition or "softcord", ("softcord", "sct")),
            ("interval", self.interval, ("auto", "mask", "network")),
        ):
            if value not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}; got {value!r}.")
        by_level = self.rows == "level" or self.vert or self.pam50 or self.norms
        if by_level and not has_levels:
            raise UsageError(
                "Vertebral levels are unknown: softcord does not guess them. Give a file of vertebrae or "
                "discs (--levels, --discs), or a disc by hand (--disc 3=I,J,K)."
            )
        if (self.pmj_distance_mm is not None) != has_pmj:
            raise UsageError("A distance from the pontomedullary junction needs --pmj and --pmj-distance.")
        if self.pmj_extent_mm <= 0 or (self.pmj_distance_mm or 0) < 0:
            raise UsageError("--pmj-distance must be at least 0 mm, and --pmj-extent above 0 mm.")
        if self.norms is not None or self.sex != "all":
            norms.find_norm("area_mm2", [3], sex=self.sex, dataset=self.norms or norms.DATASETS[0])
        if any(low > high or low < 0 for low, high in self.slices):
            raise UsageError("Ranges of slices must be like 5:23, from the lower to the higher, both from 0.")
