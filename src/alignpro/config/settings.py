"""Everything a run can be told."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from alignpro.config.endpoints import BudgetSettings
from alignpro.config.evaluation import CompareSettings, EvaluateSettings, HeadroomSettings, JudgeSettings
from alignpro.config.guards import GuardSettings
from alignpro.config.learning import PairsSettings, RewardLearningSettings, SftSettings
from alignpro.config.pieces import DataSettings, FrozenSettings, PrompterSettings
from alignpro.config.rewards import PromptTerm, RewardSettings
from alignpro.config.section import Positive, Section
from alignpro.config.training import OFFLINE, RlhfSettings, TrainSettings
from alignpro.errors import SettingsError


class Settings(Section):
    """Everything a run can be told."""

    seed: int = Field(
        0,
        description="every draw of the run follows from it: the prompts of a step, rewrites, answers, resamples; the"
        " split of the data has data.seed",
    )
    threads: Positive | None = Field(
        None, description="torch threads of each process; null: the cores that are free at the start"
    )
    device: str = Field("auto", description="where models run: cpu, cuda, cuda:1, mps; auto: a GPU where there is one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="numbers that models compute in; auto: bfloat16 where the device computes in it, on a processor for"
        " models that are not trained, or are under prompter.lora, alone; else float32",
    )
    day: str | None = Field(
        None,
        description="the day, YYYY-MM-DD, that chat templates with the date in them are told; null: that on which the"
        " run begins, which it keeps",
    )
    prompter: PrompterSettings = PrompterSettings()
    frozen: FrozenSettings = FrozenSettings()
    reward: RewardSettings = RewardSettings()
    prompt_terms: list[PromptTerm] = Field(
        [], description="terms on the rewrite itself, added to the objective beside the reward"
    )
    guards: GuardSettings = GuardSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    rlhf: RlhfSettings = RlhfSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    judge: JudgeSettings = JudgeSettings()
    headroom: HeadroomSettings = HeadroomSettings()
    compare: CompareSettings = CompareSettings()
    reward_learning: RewardLearningSettings = RewardLearningSettings()
    sft: SftSettings = SftSettings()
    pairs: PairsSettings = PairsSettings()
    budget: BudgetSettings = BudgetSettings()
    track: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(
        [], description="trackers that get what metrics.jsonl gets, and the evaluation"
    )
    track_project: str = Field(
        "alignpro", description="project or experiment under which the trackers of track keep the run"
    )

    @field_validator("track", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("day", mode="before")
    @classmethod
    def _a_day(cls, value: Any) -> Any:
        return value if value is None else date.fromisoformat(str(value)).isoformat()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for name, train in (("train", self.train), ("rlhf", self.rlhf if self.rlhf.enabled else None)):
            if train and train.watched and not (self.evaluate.every and self.data.validation):
                raise ValueError(
                    f"{name}.take best and {name}.patience go by the validation prompts; set evaluate.every and"
                    " data.validation above 0"
                )
        if self.rlhf.enabled and self.rlhf.method in OFFLINE:
            raise ValueError(f"rlhf.method {self.rlhf.method} is of the prompter alone; use ppo, rloo or grpo")
        if self.guards.stop is not None and self.train.method in OFFLINE:
            raise ValueError(
                f"guards.stop looks at what the policy samples at every step, and {self.train.method} samples nothing"
                " anew; leave it null, or use ppo, rloo or grpo"
            )
        called = [term.called for term in self.prompt_terms]
        if len(set(called)) < len(called):
            raise ValueError(f"two prompt_terms have one name among {', '.join(called)}; give each a name")
        if self.headroom.after_training:
            self.check_headroom()
        sampling = self.prompter.sampling
        if self.train.steps and (sampling.top_p < 1 or sampling.top_k):
            raise ValueError(
                "prompter.sampling.top_p and top_k must be 1 and 0 when training: it needs the probability of what was"
                " sampled under the whole distribution"
            )
        return self

    @property
    def split_seed(self) -> int:
        """What decides which prompts are held out."""
        return self.seed if self.data.seed is None else self.data.seed

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
            "reward.model": self.reward.model or self.reward.terms,
            "data.prompts": self.data.prompts,
        }
        return [name for name, value in needed.items() if not value]
