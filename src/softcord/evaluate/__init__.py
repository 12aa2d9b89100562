"""Compare segmentations with references: overlap, distances in mm, errors of areas."""

from softcord.evaluate.files import EvaluatedFile, Summary, evaluate_files, summarise
from softcord.evaluate.image import Evaluation, SliceError, evaluate
from softcord.evaluate.pairs import Pair, match_folders

__all__ = [
    "EvaluatedFile",
    "Evaluation",
    "Pair",
    "SliceError",
    "Summary",
    "evaluate",
    "evaluate_files",
    "match_folders",
    "summarise",
]
