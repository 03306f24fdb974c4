"""Settings of training: KL, the update of each method, the loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from alignpro.config.section import Positive, Rate, Section, Share
from alignpro.config.weights import LoraSettings

Method = Literal["ppo", "rloo", "grpo", "weighted_likelihood", "dpo", "exo"]
OFFLINE = ("weighted_likelihood", "dpo", "exo")
"""Methods that ask the frozen model for everything once, before the first step."""


class KlSettings(Section):
    """The price of leaving the reference, lambda of (9)."""

    coef: Annotated[float, Field(ge=0)] = Field(
        0.1, description="reward that a nat of KL costs: lambda, or RLHF's beta; higher keeps closer to the reference"
    )
    adaptive: bool = Field(False, description="steer coef from step to step so that the KL stays near target")
    target: Annotated[float, Field(gt=0)] = Field(6.0, description="KL in nats a sample that adaptive steers to")
    horizon: Positive = Field(10_000, description="samples over which adaptive steers; more is slower")


class UpdateSettings(Section):
    """What every method's update has; names and defaults as in the literature."""

    learning_rate: Rate | None = Field(
        None, description="step size of Adam; null: steered, so that every step moves the policy by step_kl"
    )
    step_kl: Annotated[float, Field(gt=0)] = Field(
        0.02,
        description="KL in nats a sample, of the policy before a step from the one after it, that a learning_rate of"
        " null is steered to",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="steps over which the learning rate rises from 0")
    anneal: bool = Field(True, description="lower the learning rate linearly, to a tenth of it at the last step")
    max_grad_norm: Annotated[float, Field(gt=0)] | None = Field(
        1.0, description="gradients of a larger norm are scaled down to it; null: never"
    )
    gradient_accumulation: Positive = Field(
        1, description="pieces in which a minibatch is computed at least, whatever update.tokens says"
    )


class PieceSettings(Section):
    """What one forward and backward pass of an update holds; a larger minibatch is computed in pieces, with the same
    gradient."""

    tokens: Positive | None = Field(
        None,
        description="tokens of prompts and actions computed at a time, padding among them; fewer where memory runs out."
        " null: as many as fit half of the memory that is free when training begins",
    )


class OnlineSettings(UpdateSettings):
    """An update on what the policy itself has just sampled."""

    epochs: Positive = Field(4, description="passes over a step's samples")
    minibatch_size: Positive = Field(32, description="samples for one step of the optimiser")
    clip_coef: Annotated[float, Field(gt=0)] = Field(
        0.2,
        description="how far the probability of a token, as a ratio to that it was sampled with, may leave 1 before"
        " going further earns nothing",
    )
    target_kl: Annotated[float, Field(gt=0)] | None = Field(
        None, description="stop a step's epochs when its approximate KL passes 1.5 times this; null never"
    )


class PpoSettings(OnlineSettings):
    """PPO: a value head is the baseline."""

    value_clip: Annotated[float, Field(gt=0)] = Field(
        0.2,
        description="how far a step may move the value head's estimates before moving them further earns nothing; 1"
        " is the deviation of the reference's rewards",
    )
    value_coef: Annotated[float, Field(ge=0)] = Field(
        0.1, description="weight of the value head's loss beside the policy's"
    )
    value_learning_rate: Rate = Field(
        0.05, description="learning rate of the value head: about how far an update moves its values"
    )
    gamma: Share = Field(1.0, description="discount a token of rewards to come; 1: none, as the objective has it")
    gae_lambda: Share = Field(
        1.0,
        description="1: advantages from all rewards to come, noisy but unbiased; lower leans on the value head",
    )
    whiten_advantages: bool = Field(True, description="bring a step's advantages to mean 0 and variance 1")


class GroupSettings(OnlineSettings):
    """RLOO and GRPO: the other rewrites of the same prompt are the baseline."""

    divide_by_deviation: bool = Field(
        False,
        description="GRPO's division by the group's deviation, in units of the reference's; moves its optimum away from"
        " rho*",
    )


class OfflineSettings(UpdateSettings):
    """Fitting the closed form to rollouts sampled once: weighted likelihood, DPO, EXO."""


class TrainSettings(Section):
    """The training loop of one policy."""

    method: Method = Field(
        "ppo",
        description="how the policy learns: ppo, rloo or grpo; or, the prompter alone and from rollouts sampled once,"
        " weighted_likelihood, dpo or exo",
    )
    steps: Annotated[int, Field(ge=0)] = Field(200, description="steps of training; 0 trains nothing")
    prompts_per_step: Positive = Field(64, description="prompts drawn for each step")
    rewrites: Positive = Field(
        1, description="rewrites for each prompt of a step; every method but ppo needs 2 or more. rlhf: see responses"
    )
    responses: Positive = Field(
        1,
        description="answers of the frozen model to each rewrite, whose mean reward is the rewrite's; rlhf: rewrites"
        " times responses answers to each prompt",
    )
    kl: KlSettings = KlSettings()
    ppo: PpoSettings = PpoSettings()
    group: GroupSettings = GroupSettings()
    offline: OfflineSettings = OfflineSettings()
    update: PieceSettings = PieceSettings()
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.95,
        description="part that a moving average of the weights keeps at each step; it is the result of training. 0: the"
        " last weights",
    )
    take: Literal["last", "best"] = Field(
        "last",
        description="the result of training: its last weights, or the best of those that validation looked at, by mean"
        " reward less the price of its KL",
    )
    patience: Positive | None = Field(
        None,
        description="stop after so many looks at the validation prompts (evaluate.every) without a better one; null:"
        " never",
    )
    gradient_checkpointing: bool = Field(
        False, description="compute layers again in the backward pass instead of keeping them: less memory, more time"
    )
    save_every: Positive = Field(10, description="steps between checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(
        2, description="newest checkpoints kept; where one is corrupt, the one before is taken"
    )

    @property
    def watched(self) -> bool:
        """Whether validation decides what becomes of the training."""
        return self.take == "best" or self.patience is not None

    @property
    def of_method(self) -> UpdateSettings:
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

    enabled: bool = Field(False, description="fine-tune the frozen model too, for the arm rlhf")
    lora: LoraSettings | None = Field(None, description="train an adapter; null trains every weight")

    @property
    def samples_of_a_prompt(self) -> int:
        return self.rewrites * self.responses
