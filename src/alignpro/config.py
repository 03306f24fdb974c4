"""Settings: strict, declared once, read from a YAML recipe and dotted overrides.

    settings = load("lab", ["train.steps=20"])

An unknown key is refused and its nearest neighbour named, so that a typing mistake never runs for an hour.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alignpro.errors import SettingsError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Overflow = Literal["refuse", "cut"]
Format = Literal["auto", "prompts", "ultrafeedback", "helpsteer", "orca"]
DATA_SETS = ("ultrafeedback", "helpsteer", "orca")
"""Data sets known by name; their files are known by their fields."""
Method = Literal["ppo", "rloo", "grpo", "weighted_likelihood", "dpo", "exo"]
OFFLINE = ("weighted_likelihood", "dpo", "exo")
"""Methods that ask the frozen model for everything once, before the first step."""


class Section(BaseModel):
    """A group of settings; unknown keys are errors and values are not coerced across kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Sampling(Section):
    """How tokens are drawn."""

    max_new_tokens: Positive = 128
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, description="0 keeps every token")] = 0


class PrompterSettings(Section):
    """The small model that rewrites; it is the one that is trained."""

    model: str | None = Field(None, description="folder, hub id, or lab")
    template: str | None = Field(None, description="meta-prompt with {prompt}; null takes the default")
    sampling: Sampling = Sampling()
    overflow: Overflow = Field("refuse", description="a prompt longer than the context: refuse, or cut its end")
    batch_size: Positive = 128
    before: list[str] = Field(
        [], description="fixed prompters that rewrite first, in this order: folders, hub ids, runs, or lab"
    )


class FrozenSettings(Section):
    """The model that answers; its weights are never touched."""

    model: str | None = Field(None, description="folder, hub id, or lab")
    template: str | None = Field(
        None, description="frame with {prompt}; null takes the chat template, or the bare prompt"
    )
    sampling: Sampling = Sampling(max_new_tokens=256)
    overflow: Overflow = "refuse"
    batch_size: Positive = 128


class RewardSettings(Section):
    """What is maximised, of the original prompt and the response."""

    model: str | None = Field(
        None, description="folder or hub id of a sequence classifier, python:module:function, or lab"
    )
    batch_size: Positive = 128
    max_failed: Share = Field(0.2, description="share of samples without a reward past which the run stops")


class DataSettings(Section):
    """User prompts."""

    prompts: str | None = Field(
        None,
        description="txt, jsonl or csv file; jsonl, json, csv or parquet file of a known data set; ultrafeedback,"
        " helpsteer or orca from the hub; or lab",
    )
    format: Format = Field("auto", description="a known data set, or prompts alone; auto: told from the first row")
    column: str = Field("prompt", description="field that holds the prompt, for jsonl and csv of prompts alone")
    test_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="share held out from training")
    limit: Positive | None = Field(None, description="use at most so many prompts")

    @model_validator(mode="after")
    def _one_format(self) -> DataSettings:
        if self.prompts in ("lab", *DATA_SETS) and self.format not in ("auto", self.prompts):
            raise ValueError(f"format {self.format} is not that of prompts {self.prompts}; leave it at auto")
        return self


class KlSettings(Section):
    """The price of leaving the reference, lambda of (9)."""

    coef: Annotated[float, Field(ge=0)] = 0.1
    adaptive: bool = Field(False, description="steer coef so that the KL stays near target")
    target: Annotated[float, Field(gt=0)] = Field(6.0, description="nats a sample, with adaptive")
    horizon: Positive = Field(10_000, description="samples over which adaptive steers")


class UpdateSettings(Section):
    """What every method's update has; names and defaults as in the literature."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    anneal: bool = Field(False, description="lower the learning rate linearly, to a tenth of it at the last step")
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    gradient_accumulation: Positive = Field(1, description="pieces in which a minibatch is computed")


class OnlineSettings(UpdateSettings):
    """An update on what the policy itself has just sampled."""

    epochs: Positive = 4
    minibatch_size: Positive = 32
    clip_coef: Annotated[float, Field(gt=0)] = 0.2
    target_kl: Annotated[float, Field(gt=0)] | None = Field(
        None, description="stop a step's epochs when its approximate KL passes 1.5 times this; null never"
    )


class PpoSettings(OnlineSettings):
    """PPO: a value head is the baseline."""

    value_clip: Annotated[float, Field(gt=0)] = 0.2
    value_coef: Annotated[float, Field(ge=0)] = 0.1
    value_learning_rate: Annotated[float, Field(gt=0)] | None = Field(None, description="null: learning_rate")
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    whiten_advantages: bool = True


class GroupSettings(OnlineSettings):
    """RLOO and GRPO: the other rewrites of the same prompt are the baseline."""

    divide_by_deviation: bool = Field(
        False, description="GRPO's division by the group's deviation; moves its optimum away from rho*"
    )


class OfflineSettings(UpdateSettings):
    """Fitting the closed form to rollouts sampled once: weighted likelihood, DPO, EXO."""


class TrainSettings(Section):
    """The training loop of one policy."""

    method: Method = "ppo"
    steps: Annotated[int, Field(ge=0)] = 200
    prompts_per_step: Positive = 64
    rewrites: Positive = Field(1, description="rewrites for each prompt of a step")
    responses: Positive = Field(1, description="responses of the frozen model for each rewrite")
    kl: KlSettings = KlSettings()
    ppo: PpoSettings = PpoSettings()
    group: GroupSettings = GroupSettings()
    offline: OfflineSettings = OfflineSettings()
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="share kept a step by a moving average of the weights, which then is the result; 0 takes the last",
    )
    save_every: Positive = 10
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(2, description="a corrupt one falls back to the one before")

    @property
    def update(self) -> UpdateSettings:
        """The section that the method reads."""
        if self.method == "ppo":
            return self.ppo
        return self.offline if self.method in OFFLINE else self.group

    @model_validator(mode="after")
    def _enough_rewrites(self) -> TrainSettings:
        if self.steps and self.method != "ppo" and self.samples_of_a_prompt < 2:
            raise ValueError(f"method {self.method} compares rewrites of one prompt; set rewrites to 2 or more")
        if self.steps and self.method in OFFLINE and (self.kl.adaptive or self.kl.coef <= 0):
            raise ValueError(f"method {self.method} fits the closed form of one kl.coef above 0, which is fixed")
        return self

    @property
    def samples_of_a_prompt(self) -> int:
        """Actions that are compared with each other."""
        return self.rewrites


class RlhfSettings(TrainSettings):
    """The oracle arm: the frozen model itself fine-tuned by the same PPO, kl.coef being RLHF's beta."""

    enabled: bool = False

    @property
    def samples_of_a_prompt(self) -> int:
        return self.rewrites * self.responses


class EvaluateSettings(Section):
    """The comparison at the end."""

    arms: list[str] = ["no_prompter", "reference_prompter", "align_pro", "gibbs_8"]
    prompts: Positive | None = Field(None, description="null: every held-out prompt")
    responses: Annotated[int, Field(ge=2)] = 4
    gibbs_responses: Positive = Field(2, description="responses that score each candidate of gibbs_N")
    bootstrap: Annotated[int, Field(ge=100)] = 2000
    judge: str | None = Field(
        None, description="second reward that judges wins: python:module:function; null: the reward"
    )
    tie_margin: Annotated[float, Field(ge=0)] = Field(0.0, description="judge scores this close are a tie")
    every: Annotated[int, Field(ge=0)] = Field(20, description="steps between small evaluations in training; 0 none")
    monitor_prompts: Positive = Field(16, description="prompts of those")

    @model_validator(mode="after")
    def _known_arms(self) -> EvaluateSettings:
        for arm in self.arms:
            kind, _, number = arm.partition("_")
            if arm not in ARMS and not (kind in ("gibbs", "pass") and number.isdigit() and int(number) > 0):
                raise ValueError(f"unknown arm {arm!r}; there are {', '.join(ARMS)}, gibbs_N and, of a chain, pass_N")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError(f"an arm is named twice: {', '.join(self.arms)}")
        return self


class HeadroomSettings(Section):
    """The estimate of how much there is to gain, from samples alone."""

    after_training: bool = Field(False, description="estimate it at the end of a run too, the trained prompter in it")
    prompts: Positive = Field(64, description="held-out prompts")
    rewrites: Annotated[int, Field(ge=4)] = Field(
        64, description="rewrites of each; half of them the trained prompter's, where there is one"
    )
    responses: Annotated[int, Field(ge=2)] = Field(8, description="responses to each different rewrite")
    answers: Annotated[int, Field(ge=8)] = Field(64, description="answers to each prompt as it is")
    lams: list[Annotated[float, Field(gt=0)]] = Field(
        [16, 8, 4, 2.5, 1.6, 1, 0.7, 0.5, 0.35, 0.25], description="frontier points, in multiples of train.kl.coef"
    )
    gibbs: list[Annotated[int, Field(ge=2)]] = Field([2, 4, 8, 16], description="N of the gibbs_N estimated")
    noise: list[str] = Field(
        [], description="damage to the frozen model: temperature=T, drop=P, swap=P, weights=S, model=M"
    )
    noise_samples: Positive = Field(8, description="answers a prompt, a prompter and a kind of noise")
    chunk: Positive = Field(16, description="prompts sampled at a time")


class CompareSettings(Section):
    """Methods side by side, each trained with several seeds."""

    seeds: Annotated[int, Field(ge=2)] = 5
    methods: dict[Method, dict[str, Any]] = Field(
        {"ppo": {}, "rloo": {"rewrites": 4}}, description="by method, what its train section has otherwise"
    )
    gibbs: list[Annotated[int, Field(ge=2)]] = Field([2, 4, 8, 16], description="N of the gibbs_N beside them")


ARMS = ("no_prompter", "reference_prompter", "align_pro", "rlhf")


class Settings(Section):
    """Everything a run can be told."""

    seed: int = 0
    threads: Positive | None = Field(None, description="torch threads; null: the cores that are free at the start")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 where the device computes in it, else float32"
    )
    prompter: PrompterSettings = PrompterSettings()
    frozen: FrozenSettings = FrozenSettings()
    reward: RewardSettings = RewardSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    rlhf: RlhfSettings = RlhfSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    headroom: HeadroomSettings = HeadroomSettings()
    compare: CompareSettings = CompareSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if "rlhf" in self.evaluate.arms and not self.rlhf.enabled:
            raise ValueError("evaluate.arms names rlhf, but rlhf.enabled is false; set one or drop the other")
        passes = [int(arm.removeprefix("pass_")) for arm in self.evaluate.arms if arm.startswith("pass_")]
        if max(passes, default=0) > len(self.prompter.before):
            raise ValueError(
                f"evaluate.arms names pass_{max(passes)}, but prompter.before has {len(self.prompter.before)} passes"
            )
        if self.rlhf.enabled and self.rlhf.method in OFFLINE:
            raise ValueError(f"rlhf.method {self.rlhf.method} is of the prompter alone; use ppo, rloo or grpo")
        if self.headroom.after_training:
            self.check_headroom()
        sampling = self.prompter.sampling
        if self.train.steps and (sampling.top_p < 1 or sampling.top_k):
            raise ValueError(
                "prompter.sampling.top_p and top_k must be 1 and 0 when training: it needs the probability of what was"
                " sampled under the whole distribution"
            )
        return self

    def check_headroom(self) -> None:
        """Raise SettingsError where the closed forms (4) and (10), which headroom estimates, are not defined."""
        if not (self.train.kl.coef > 0 and self.rlhf.kl.coef > 0):
            raise SettingsError(
                "headroom needs train.kl.coef and rlhf.kl.coef above 0: the closed forms divide by them"
            )

    def missing(self) -> list[str]:
        """Settings without which nothing can run, as dotted names."""
        needed = {
            "prompter.model": self.prompter.model,
            "frozen.model": self.frozen.model,
            "reward.model": self.reward.model,
            "data.prompts": self.data.prompts,
        }
        return [name for name, value in needed.items() if not value]


def recipes() -> dict[str, str]:
    """Name -> first comment line of every packaged recipe."""
    found = {}
    for entry in sorted(resources.files("alignpro.recipes").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".yaml"):
            first = entry.read_text(encoding="utf-8").split("\n", 1)[0]
            found[entry.name.removesuffix(".yaml")] = first.lstrip("# ")
    return found


def load(recipe: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Resolve a recipe (packaged name or YAML file) with `a.b=value` overrides, the last winning.

    Raises SettingsError for an unknown recipe, key or value.
    """
    tree = _read_recipe(recipe)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SettingsError(f"override {item!r} is not of the form section.key=value")
        _assign(tree, key, text)
    return build(tree, source=str(recipe))


def build(tree: Mapping[str, Any], source: str = "settings") -> Settings:
    """Settings from nested mappings; raises SettingsError naming every fault and, for a wrong key, the nearest
    right one."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(dict(fault)) for fault in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(lines)) from None


def dump(settings: Settings) -> str:
    """The resolved settings as YAML; `load` of it gives them back."""
    return str(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def keys() -> list[str]:
    """Every dotted setting there is."""
    return sorted(_leaves(Settings))


def _read_recipe(recipe: str | Path) -> dict[str, Any]:
    name = str(recipe)
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise SettingsError(f"recipe file {name} does not exist; `alignpro recipes` lists the packaged ones")
        text = path.read_text(encoding="utf-8")
    else:
        known = recipes()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise SettingsError(f"unknown recipe {name!r}; {hint} A path to a .yaml file works too.")
        text = (resources.files("alignpro.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"recipe {name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"recipe {name} holds {type(tree).__name__}, not a mapping of settings")
    return tree


def _assign(tree: dict[str, Any], key: str, text: str) -> None:
    try:
        value = yaml.safe_load(text) if text else None
    except yaml.YAMLError:
        value = text
    if isinstance(value, str):  # YAML reads 1e-5 as text; JSON and Python read a number
        try:
            value = float(value)
        except ValueError:
            value = text
    *sections, leaf = key.replace("-", "_").split(".")
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            raise SettingsError(f"override {key}: {section} is a value, not a section")
        tree = child
    tree[leaf] = value


def _leaves(section: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _leaves(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _sections(section: type[BaseModel], prefix: str = "") -> Iterable[str]:
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield prefix + name
            yield from _sections(info.annotation, f"{prefix}{name}.")


def _explain(fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = [*keys(), *_sections(Settings)]
        near = difflib.get_close_matches(where, known, n=1, cutoff=0.5) or [
            name for name in known if name.rsplit(".", 1)[-1] == where.rsplit(".", 1)[-1]
        ]
        return f"unknown setting {where}" + (f", did you mean {near[0]}?" if near else "")
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    got = fault.get("input")
    if fault["type"] == "literal_error":
        near = difflib.get_close_matches(str(got), re.findall(r"'([^']+)'", message), n=1)
        message += f" (did you mean {near[0]}?)" if near else ""
    return f"{where}: {message[:1].lower()}{message[1:]}" + ("" if isinstance(got, dict) else f", got {got!r}")
