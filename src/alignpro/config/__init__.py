"""Settings: strict, declared once, read from a YAML recipe and dotted overrides.

    settings = load("lab", ["train.steps=20"])

An unknown key is refused and its nearest neighbour named, so that a typing mistake never runs for an hour.
"""

from alignpro.config.endpoints import BudgetSettings, EndpointSettings, PriceSettings
from alignpro.config.evaluation import (
    CRITERIA,
    EvaluateSettings,
    HeadroomSettings,
    JudgeSettings,
    OtherPrompterSettings,
)
from alignpro.config.guards import GUARDS, GuardSettings
from alignpro.config.learning import FitSettings, PairsSettings, RewardLearningSettings, SftSettings
from alignpro.config.listing import keys
from alignpro.config.meta_prompts import META_PROMPT, META_PROMPTS, PLAIN_META_PROMPT
from alignpro.config.notation import as_yaml
from alignpro.config.pieces import (
    DATA_SETS,
    LAB_PROMPTS,
    DataSettings,
    Example,
    FrozenSettings,
    PrompterSettings,
    Sampling,
)
from alignpro.config.places import PROMPTER, TEMPLATE, TEMPLATES
from alignpro.config.recipes import build, dump, flat, laid_over, load, recipes, reread, resolved, sources
from alignpro.config.rewards import GateTerm, PromptTerm, RewardSettings, RewardSpec, RewardTerm, Scale
from alignpro.config.settings import Settings
from alignpro.config.thoughts import Thoughts
from alignpro.config.training import (
    OFFLINE,
    GroupSettings,
    KlSettings,
    Method,
    OfflineSettings,
    OnlineSettings,
    PpoSettings,
    TrainSettings,
    UpdateSettings,
)
from alignpro.config.weights import DeviceMap, LoraSettings
from alignpro.config.whole import sealed

__all__ = [
    "CRITERIA",
    "DATA_SETS",
    "GUARDS",
    "LAB_PROMPTS",
    "META_PROMPT",
    "META_PROMPTS",
    "OFFLINE",
    "PLAIN_META_PROMPT",
    "PROMPTER",
    "TEMPLATE",
    "TEMPLATES",
    "BudgetSettings",
    "DataSettings",
    "DeviceMap",
    "EndpointSettings",
    "EvaluateSettings",
    "Example",
    "FitSettings",
    "FrozenSettings",
    "GateTerm",
    "GroupSettings",
    "GuardSettings",
    "HeadroomSettings",
    "JudgeSettings",
    "KlSettings",
    "LoraSettings",
    "Method",
    "OfflineSettings",
    "OnlineSettings",
    "OtherPrompterSettings",
    "PairsSettings",
    "PpoSettings",
    "PriceSettings",
    "PromptTerm",
    "PrompterSettings",
    "RewardLearningSettings",
    "RewardSettings",
    "RewardSpec",
    "RewardTerm",
    "Sampling",
    "Scale",
    "Settings",
    "SftSettings",
    "Thoughts",
    "TrainSettings",
    "UpdateSettings",
    "as_yaml",
    "build",
    "dump",
    "flat",
    "keys",
    "laid_over",
    "load",
    "recipes",
    "reread",
    "resolved",
    "sealed",
    "sources",
]
