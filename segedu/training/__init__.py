"""Training: one loop for every model, recipes for what it is to do, and files that keep what came of it."""

from segedu.training.files import CheckpointError
from segedu.training.loop import Stopped, TrainingError, train
from segedu.training.recipe import Recipe, load_recipe, recipe_names
from segedu.training.weights import load_model, save_model, shipped_models

__all__ = [
    "CheckpointError",
    "Recipe",
    "Stopped",
    "TrainingError",
    "load_model",
    "load_recipe",
    "recipe_names",
    "save_model",
    "shipped_models",
    "train",
]
