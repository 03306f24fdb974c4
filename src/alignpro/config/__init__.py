"""Settings: strict, declared once, read from a YAML recipe and dotted overrides.

    settings = load("lab", ["train.steps=20"])

An unknown key is refused and its nearest neighbour named, so that a typing mistake never runs for an hour.
"""

from alignpro.config.evaluation import ARMS, CompareSettings, EvaluateSettings, HeadroomSettings
from alignpro.config.learning import FitSettings, PairsSettings, RewardLearningSettings, SftSettings
from alignpro.config.pieces import DATA_SETS, DataSettings, FrozenSettings, PrompterSettings, RewardSettings, Sampling
from alignpro.config.recipes import build, dump, keys, load, recipes
from alignpro.config.settings import Settings
from alignpro.config.training import (
    OFFLINE,
    GroupSettings,
    KlSettings,
    Method,
    OfflineSettings,
    OnlineSettings,
    PpoSettings,
    RlhfSettings,
    TrainSettings,
    UpdateSettings,
)

__all__ = [
    "ARMS",
    "DATA_SETS",
    "OFFLINE",
    "CompareSettings",
    "DataSettings",
    "EvaluateSettings",
    "FitSettings",
    "FrozenSettings",
    "GroupSettings",
    "HeadroomSettings",
    "KlSettings",
    "Method",
    "OfflineSettings",
    "OnlineSettings",
    "PairsSettings",
    "PpoSettings",
    "PrompterSettings",
    "RewardLearningSettings",
    "RewardSettings",
    "RlhfSettings",
    "Sampling",
    "Settings",
    "SftSettings",
    "TrainSettings",
    "UpdateSettings",
    "build",
    "dump",
    "keys",
    "load",
    "recipes",
]
