"""Models of nnU-Net v2, run without torch: the same preprocessing, tiles and weights, in the same engines.

`plans` and `labels` say what a model is, `checkpoint` reads its weights, `graph` makes them a graph.
`preprocess`, `tiles` and `export` are nnU-Net's way from a volume to probabilities; `follow` computes only
the tiles that the cord passes through.
"""

from softcord.engines.nnunet.network import NnunetNetwork
from softcord.engines.nnunet.predict import Mode, NnunetOptions, NnunetPrediction, predict_nnunet

__all__ = ["Mode", "NnunetNetwork", "NnunetOptions", "NnunetPrediction", "predict_nnunet"]
