"""Datasets for training: get them, make soft labels, split people, convert to what nnU-Net reads.

A recipe, one YAML file, says which datasets, which images and labels of them, and how people are split. Each
step is one function, writes files whole or not at all, and goes on where it was when it is run again.
"""

from softcord.dataset.conversion import Conversion, convert
from softcord.dataset.getting import GetResult, get_datasets
from softcord.dataset.reading import read_recipe
from softcord.dataset.recipe import Recipe
from softcord.dataset.softlabels import SoftLabels, make_soft_labels
from softcord.dataset.splitting import Split, read_split, split_subjects

__all__ = [
    "Conversion",
    "GetResult",
    "Recipe",
    "SoftLabels",
    "Split",
    "convert",
    "get_datasets",
    "make_soft_labels",
    "read_recipe",
    "read_split",
    "split_subjects",
]
