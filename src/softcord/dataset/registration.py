"""Where the cord of one image lies in another image of the same person.

Both ways start from the scanner's own coordinates, as the images of one session share them, and correct how
the person moved in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from softcord._typing import Affine, FloatArray
from softcord.dataset.sampling import Move, Shares
from softcord.errors import MissingExtraError
from softcord.nifti import zooms_of

_AROUND_MM = 20.0  # what of the reference is compared around the cord
_ITERATIONS = 100


@dataclass(frozen=True)
class Alignment:
    """How an image is moved onto the reference.

    Attributes
    ----------
    to_reference, from_reference : callable
        Move points, (N, 3) in RAS+ mm; each is the inverse of the other.
    shift_mm : float, mm
        Largest movement of the cord's centre.
    is_known : bool
        False if there was nothing to align by; then points stay where they are.
    """

    to_reference: Move
    from_reference: Move
    shift_mm: float
    is_known: bool = True


def stay() -> Alignment:
    """No movement."""
    return Alignment(_same, _same, 0.0)


def align_centers(moving: Shares, reference: Shares) -> Alignment:
    """Alignment of the centres of mass, slice by slice.

    Parameters
    ----------
    moving, reference : Shares
        Labels of two images, each on its own grid.

    Returns
    -------
    alignment : Alignment
        Moves points across the reference's long axis only, by the distance between the two centrelines at
        their height; beyond the heights that both cover, by the distance at the nearest one. Unknown if they
        have no height in common.
    """
    axes = reference.affine[:3, :3] / np.array(zooms_of(reference.affine))
    ours, theirs = (_centers(shares) @ axes for shares in (moving, reference))
    low, high = max(ours[0, 2], theirs[0, 2]), min(ours[-1, 2], theirs[-1, 2])
    if low > high:
        return Alignment(_same, _same, 0.0, is_known=False)
    heights = np.unique(np.concatenate([[low, high], ours[:, 2], theirs[:, 2]]))
    heights = heights[(heights >= low) & (heights <= high)]
    shift = np.stack(
        [
            np.interp(heights, theirs[:, 2], theirs[:, n]) - np.interp(heights, ours[:, 2], ours[:, n])
            for n in (0, 1)
        ],
        axis=1,
    )

    def move(points: FloatArray, sign: int) -> FloatArray:
        moved = points @ axes
        for n in (0, 1):
            moved[:, n] += sign * np.interp(moved[:, 2], heights, shift[:, n])
        back: FloatArray = moved @ np.linalg.inv(axes)
        return back

    return Alignment(
        lambda points: move(points, 1),
        lambda points: move(points, -1),
        float(np.linalg.norm(shift, axis=1).max()),
    )


def align_rigidly(
    image: FloatArray, affine: Affine, reference_image: FloatArray, reference: Shares
) -> Alignment:
    """Rigid alignment of two images around the cord, by mutual information.

    Parameters
    ----------
    image : (I, J, K) array of float
        The image that moves, on canonical axes.
    affine : (4, 4) array of float
        Its index to RAS+ mm.
    reference_image : (I, J, K) array of float
    reference : Shares
        Label of the reference, on the grid of `reference_image`.

    Returns
    -------
    alignment : Alignment
        Rotation and translation (SimpleITK: Mattes mutual information within 20 mm of the cord).

    Raises
    ------
    MissingExtraError
        If SimpleITK is not installed.

    Notes
    -----
    Images are compared and not masks: a cord is a tube, which can slide and turn along itself unseen.
    """
    try:
        import SimpleITK as sitk  # noqa: N813  its own habit
    except ImportError as error:
        raise MissingExtraError(
            "Rigid registration needs SimpleITK. Run: pip install 'softcord[dataset]'"
        ) from error
    near = _near_cord(reference)
    fixed = _to_itk(sitk, reference_image, reference.affine)
    moving = _to_itk(sitk, image, affine)
    middle = _centers(reference).mean(axis=0) * [-1, -1, 1]
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(_to_itk(sitk, near.astype(np.uint8), reference.affine))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.25, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, _ITERATIONS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1.0, 0.0])
    method.SetNumberOfThreads(1)  # sums of several threads differ from run to run
    start = sitk.Euler3DTransform()
    start.SetCenter(middle.tolist())
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # as when the images hardly overlap
        return Alignment(_same, _same, 0.0, is_known=False)
    turn = np.array(start.GetMatrix()).reshape(3, 3)
    offset = np.array(start.GetTranslation()) + middle - turn @ middle
    flip = np.diag([-1.0, -1.0, 1.0])  # ITK's LPS to RAS+
    turn, offset = flip @ turn @ flip, flip @ offset
    centers = _centers(reference)
    moved = np.linalg.norm(centers @ turn.T + offset - centers, axis=1).max()
    return Alignment(
        lambda points: (points - offset) @ turn,  # the inverse of a rotation is its transpose
        lambda points: points @ turn.T + offset,
        float(moved),
    )


def _centers(shares: Shares) -> FloatArray:
    """Centres of mass of the covered slices, (N, 3) in RAS+ mm, from the feet up."""
    index = []
    for k in np.flatnonzero(shares.covered):
        plane = shares.data[:, :, k]
        total = plane.sum(dtype=np.float64)
        i = (plane.sum(axis=1, dtype=np.float64) * np.arange(plane.shape[0])).sum() / total
        j = (plane.sum(axis=0, dtype=np.float64) * np.arange(plane.shape[1])).sum() / total
        index.append([i, j, k])
    centers: FloatArray = np.array(index) @ shares.affine[:3, :3].T + shares.affine[:3, 3]
    return centers


def _near_cord(shares: Shares) -> np.ndarray:
    """Voxels within some distance of the cord."""
    zooms = zooms_of(shares.affine)
    near: np.ndarray = shares.data > 0
    for axis, zoom in enumerate(zooms):
        reach = round(_AROUND_MM / zoom) if axis < 2 else 1
        line = np.ones([2 * reach + 1 if n == axis else 1 for n in range(3)], dtype=bool)
        near = binary_dilation(near, line)
    return near


def _to_itk(sitk: Any, data: np.ndarray, affine: Affine) -> Any:  # noqa: ANN401  SimpleITK has no types
    kind = np.uint8 if data.dtype == np.uint8 else np.float32
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0), dtype=kind))
    zooms = np.array(zooms_of(affine))
    flip = np.diag([-1.0, -1.0, 1.0])
    image.SetSpacing(zooms.tolist())
    image.SetOrigin((flip @ affine[:3, 3]).tolist())
    image.SetDirection((flip @ (affine[:3, :3] / zooms)).ravel().tolist())
    return image


def _same(points: FloatArray) -> FloatArray:
    return points


def chain(first: Move, second: Move) -> Callable[[FloatArray], FloatArray]:
    """Both movements, one after the other."""
    return lambda points: second(first(points))
