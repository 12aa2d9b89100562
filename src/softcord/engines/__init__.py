"""Running the network over a volume: find the cord, follow it, come back to the image's grid.

Arrays in, arrays out: RAS+ volumes with their voxel size; no files, no images.
`runtime` is the one door to the inference libraries.
"""

from softcord.engines.network import Network
from softcord.engines.predict import Prediction, PredictOptions, predict
from softcord.engines.runtime import ChannelEngine, Engine, choose_device, choose_engine, load_engine

__all__ = [
    "ChannelEngine",
    "Engine",
    "Network",
    "PredictOptions",
    "Prediction",
    "choose_device",
    "choose_engine",
    "load_engine",
    "predict",
]
