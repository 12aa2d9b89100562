"""What nnU-Net's own predictor says of an image file."""

from pathlib import Path

import numpy as np
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def predict_with_nnunet(model: Path, image: Path, *, fold: int | str = 0) -> np.ndarray:
    """Probabilities of the first label on the axes of the file, not mirrored."""
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (fold,))
    data, properties = SimpleITKIO().read_images([str(image)])
    _, probabilities = predictor.predict_single_npy_array(data, properties, None, None, True)
    return probabilities[1].transpose(2, 1, 0)
