"""Settings of training: KL, the update of each method, the loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from alignpro.config.section import Positive, Section, Share
from alignpro.config.weights import LoraSettings

Method = Literal["ppo", "rloo", "grpo", "weighted_likelihood", "dpo", "exo"]
OFFLINE = ("weighted_likelihood", "dpo", "exo")
"""Methods that ask the frozen model for everything once, before the first step."""


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
    gradient_checkpointing: bool = Field(
        False, description="compute layers again in the backward pass instead of keeping them: less memory, more time"
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
    lora: LoraSettings | None = Field(None, description="train an adapter; null trains every weight")

    @property
    def samples_of_a_prompt(self) -> int:
        return self.rewrites * self.responses
