"""A small nnU-Net model that was trained on phantoms: it finds the cord, and `follow` is `exact` near it."""

import csv
import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label, map_coordinates

import softcord
from softcord import engines, models
from softcord.engines.nnunet import NnunetOptions, predict_nnunet
from softcord.phantoms import AnatomyOptions, make_phantom

RAS = np.array([[0.0, 1], [1, 1], [2, 1]])
ZOOMS = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """A copy, so that its graph is not kept in the repository."""
    return shutil.copytree(root / "tests/data/small-nnunet", tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def model(folder):
    return models.load(folder, device="cpu", threads=1)


def phantom(seed, shape=(72, 72, 80), *, curved=True, tilt_deg=0.0):
    anatomy = AnatomyOptions(  # without a rim, as those on which the model was trained
        pathology=False, ends=False, area_mm2=(50.0, 110.0), curved=curved, rim_mm=0.0
    )
    return make_phantom(seed, shape=shape, contrast="T2w", anatomy=anatomy, tilt_deg=tilt_deg)


def run(model, image, zooms=ZOOMS, mode="exact", cord=None):
    find_cord = None if cord is None else lambda: cord
    return predict_nnunet([image], zooms, RAS, model.network, NnunetOptions(mode), find_cord=find_cord)


def near(cord, zooms):
    """Voxels within 10 mm of the cord."""
    return distance_transform_edt(~cord, sampling=zooms) <= 10


def dice(found, true):
    return 2 * (found & true).sum() / (found.sum() + true.sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_cord_on_unseen_phantoms(model, seed):
    made = phantom(seed)
    assert dice(run(model, made.image).probabilities[0] > 0.5, made.share > 0.5) >= 0.9


@pytest.mark.parametrize(
    ("seed", "options"),
    [(3, {"curved": False}), (4, {"tilt_deg": 25.0}), (5, {"curved": True})],
    ids=["straight", "oblique", "curved"],
)
def test_follow_is_exact_near_the_cord_and_computes_less(model, seed, options):
    made = phantom(seed, (120, 120, 72), **options)
    exact = run(model, made.image)
    guess = np.zeros(made.image.shape, dtype=bool)
    guess[..., 30:34] = made.share[..., 30:34] > 0.5  # a few slices: the rest must be followed
    follow = run(model, made.image, mode="follow", cord=guess)

    cord = pieces_that_meet(exact.probabilities[0] > 0.5, made.share > 0.5)
    known = near(cord, ZOOMS)
    difference = np.abs(follow.probabilities[0] - exact.probabilities[0])
    assert difference[known].max() <= 1e-6
    assert follow.tiles == exact.tiles == exact.computed > follow.computed


def test_without_a_place_to_start_all_of_the_image_is_looked_at(model):
    made = phantom(6, (72, 72, 72))
    exact, follow = run(model, made.image), run(model, made.image, mode="follow")
    cord = (exact.probabilities[0] > 0.5) & (made.share > 0)
    difference = np.abs(follow.probabilities[0] - exact.probabilities[0])
    assert difference[near(cord, ZOOMS)].max() <= 1e-6


def test_a_wrong_place_to_start_does_not_lose_the_cord(model):
    made = phantom(8, (72, 72, 72))
    wrong = np.zeros(made.image.shape, dtype=bool)
    wrong[:3, :3, :3] = True
    follow = run(model, made.image, mode="follow", cord=wrong)
    assert dice(follow.probabilities[0] > 0.5, made.share > 0.5) >= 0.85


def bent(seed, shape=(120, 96, 128), cobb_deg=40.0):
    """A straight phantom, sheared along a sine in the coronal plane: image and share of a scoliotic cord.

    The angle between its steepest tangents, which is Cobb's, is twice the arctangent of the largest slope.
    """
    made = phantom(seed, shape, curved=False)
    length = shape[2]
    sway = np.tan(np.deg2rad(cobb_deg / 2)) * length / (2 * np.pi)
    i, j, k = np.indices(shape, dtype=np.float32)
    i -= sway * np.sin(2 * np.pi * (k - (length - 1) / 2) / length)
    image, share = (map_coordinates(v, [i, j, k], order=1, mode="nearest") for v in (made.image, made.share))
    centre = (share > 0.5).nonzero()[0]  # it sways by what it was made to sway
    assert np.ptp(centre) >= 1.8 * sway
    return image, share


def pieces_that_meet(found, place):
    """Those pieces of what was found that have a voxel in common with a place."""
    pieces, _ = label(found, np.ones((3, 3, 3)))
    met = np.unique(pieces[place & found])
    return np.isin(pieces, met[met > 0])


@pytest.mark.parametrize("seed", [3, 4])
def test_follow_is_exact_all_along_a_scoliotic_cord(model, seed):
    image, share = bent(seed)
    exact = run(model, image)
    guess = np.zeros(image.shape, dtype=bool)
    guess[..., 60:64] = share[..., 60:64] > 0.5
    follow = run(model, image, mode="follow", cord=guess)
    cord = pieces_that_meet(exact.probabilities[0] > 0.5, share > 0.5)
    assert (cord & (share > 0.5)).sum() >= 0.9 * (share > 0.5).sum()
    difference = np.abs(follow.probabilities[0] - exact.probabilities[0])
    assert difference[near(cord, ZOOMS)].max() <= 1e-6
    assert follow.computed < exact.computed


def rows_of_test(shared):
    """Names of image and mask ("" if there is none) of each row of the split `test`."""
    text = (shared / "data/images.tsv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        if row["split"] == "test":
            yield row["image"], row["cord_mask"]


LONGEST = 128  # voxels along an axis; larger images are cut to it, which leaves several tiles


def cut(image, mask):
    """Grey levels (mean over time), mask and voxel size of the part around the mask, or of the middle."""
    image = nib.as_closest_canonical(image)
    data = image.get_fdata(dtype=np.float32)
    data = data.mean(axis=-1) if data.ndim == 4 else data
    drawn = np.zeros(data.shape, dtype=bool)
    if mask is not None:
        drawn = nib.as_closest_canonical(mask).get_fdata() > 0.5
    middle = [n // 2 for n in data.shape] if mask is None else [int(np.mean(x)) for x in drawn.nonzero()]
    starts = [
        int(np.clip(m - LONGEST // 2, 0, max(n - LONGEST, 0)))
        for m, n in zip(middle, data.shape, strict=True)
    ]
    box = tuple(slice(s, s + LONGEST) for s in starts)
    part = nib.Nifti1Image(np.ascontiguousarray(data[box]), image.affine)
    return part, drawn[box], tuple(float(z) for z in image.header.get_zooms()[:3])


def test_follow_is_exact_near_the_cord_on_real_images(model, shared):
    """On each image: near every piece of `exact` that the drawn cord meets, or that `follow` starts in."""
    compared, without = 0, []
    for name, mask_name in rows_of_test(shared):
        bids = shared / "data/bids"
        mask = nib.load(bids / mask_name) if mask_name else None
        image, drawn, zooms = cut(nib.load(bids / name), mask)
        exact, follow = (
            softcord.segment(image, model=model, mode=mode).soft.get_fdata(dtype=np.float32)
            for mode in ("exact", "follow")
        )
        place = drawn
        if mask is None:
            place = engines.predict(image.get_fdata(dtype=np.float32), zooms, model.guide).soft > 0.3
        cord = pieces_that_meet(exact > 0.5, place)
        assert not ((follow > 0.5) & ~(exact > 0.5)).any(), name
        if not cord.any():
            without.append(name)
            continue
        assert np.abs(follow - exact)[near(cord, zooms)].max() <= 1e-6, name
        compared += 1
    assert compared >= 12, without


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PSR"])
def test_the_model_sees_the_orientation_that_it_was_trained_on(model, axes):
    made = phantom(1, (64, 72, 80))
    plain = nib.Nifti1Image((made.image * 1000).astype(np.float32), made.affine)
    turned = plain.as_reoriented(
        nib.orientations.ornt_transform(
            nib.io_orientation(plain.affine), nib.orientations.axcodes2ornt(tuple(axes))
        )
    )
    expected = softcord.segment(plain, model=model, mode="exact").soft
    found = nib.as_closest_canonical(softcord.segment(turned, model=model, mode="exact").soft)
    assert np.abs(found.get_fdata() - expected.get_fdata()).max() <= 1e-4


def test_the_command_writes_map_and_sidecar_without_torch(folder, tmp_path):
    made = phantom(0, (64, 64, 64))
    image = tmp_path / "t2.nii.gz"
    nib.save(nib.Nifti1Image((made.image * 1000).astype(np.int16), made.affine), image)
    code = f"""
import sys
from softcord.cli import main
status = main(["segment", {str(image)!r}, "--model", {str(folder)!r}, "--mode", "exact", "--mirror", "-q"])
assert status == 0, status
assert not {{"torch", "nnunetv2", "pandas", "matplotlib"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    record = json.loads((tmp_path / "t2_softseg.json").read_text())
    assert (record["Mode"], record["Mirror"], record["ModelSHA256"]) == (
        "exact",
        True,
        models.describe(folder).sha256,
    )
    assert record["TilesOfGrid"] == record["TilesComputed"] > 1
    soft = nib.load(tmp_path / "t2_softseg.nii.gz").get_fdata()
    assert dice(soft > 0.5, made.share > 0.5) >= 0.85


def test_the_graph_is_made_once_and_again_when_a_file_changes(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("softcord-graphs"))
    models.load(copy, device="cpu")
    (graph,) = (copy / "softcord-graphs").glob("*.onnx")
    made = graph.stat().st_mtime_ns
    models.load(copy, device="cpu")
    assert graph.stat().st_mtime_ns == made
    dataset = copy / "dataset.json"
    dataset.write_text(dataset.read_text() + "\n")
    models.load(copy, device="cpu")
    (other,) = (copy / "softcord-graphs").glob("*.onnx")
    assert other.name != graph.name


def test_a_checkpoint_of_other_plans_is_refused_by_the_name_of_the_weight(folder, tmp_path):
    from softcord.errors import ModelError

    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("softcord-graphs"))
    plans = copy / "plans.json"
    plans.write_text(plans.read_text().replace("24", "32"))
    with pytest.raises(ModelError, match=r"encoder.stages.2.0.convs.0.conv.weight has the shape"):
        models.load(copy, device="cpu")


def test_a_model_trained_on_crops_sees_the_crop(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "crop", ignore=shutil.ignore_patterns("softcord-graphs"))
    faces = ("left", "right", "posterior", "anterior", "inferior", "superior")
    (copy / "crop_metadata.json").write_text(json.dumps(dict.fromkeys(faces, 15)))
    cropping = models.load(copy, device="cpu", threads=1)
    made = phantom(2, (110, 100, 64))
    cord = made.share > 0.5
    found = run(cropping, made.image, cord=cord).probabilities[0]
    box = cropping.network.margins.box(cord, ZOOMS)
    alone = run(models.load(folder, device="cpu", threads=1), np.ascontiguousarray(made.image[box]))
    assert np.array_equal(found[box], alone.probabilities[0])
    found[box] = 0
    assert not found.any()


def test_options_of_other_models_and_other_numbers_of_channels_are_refused(model):
    from softcord.errors import UsageError

    image = nib.Nifti1Image(np.ones((8, 8, 8), dtype=np.float32), np.eye(4))
    for options, reason in (
        ({"model": "softcord", "mode": "exact"}, "for nnU-Net models"),
        ({"model": model, "uncertainty": True}, "uncertainty"),
        ({"model": model, "channels": [image]}, "takes 1 channels"),
    ):
        with pytest.raises(UsageError, match=reason):
            softcord.segment(image, **options)


def test_the_script_that_trained_it_still_makes_such_a_model(root, tmp_path):
    pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
    script = root / "tests/data/train_small_nnunet.py"
    command = [sys.executable, str(script), str(tmp_path / "work"), "--tiny"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr

    made, kept = tmp_path / "work/small-nnunet", root / "tests/data/small-nnunet"
    assert json.loads((made / "plans.json").read_text()) == json.loads((kept / "plans.json").read_text())
    prediction = run_on_phantom(made)
    assert np.isfinite(prediction).all()
    assert prediction.std() > 0


def run_on_phantom(folder):
    return run(models.load(folder, device="cpu", threads=1), phantom(7, (48, 48, 56)).image).probabilities
