"""Settings of rewards: a model or function, several with weights, and terms on the rewrite itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from alignpro.config.endpoints import EndpointSettings
from alignpro.config.places import File, Place
from alignpro.config.section import Positive, Section, Share, Text
from alignpro.config.weights import DeviceMap

Kept = Literal["numbers", "quotes", "placeholders", "words", "urls", "code"]
KEPT: tuple[Kept, ...] = ("numbers", "quotes", "placeholders", "words", "urls", "code")
PROMPT_TERMS = ("length", "kept", "fluency", "guards")
Label = int | str
_NEEDS_MODEL = "a {} needs model: a folder, package:NAME, hub id, verify:NAME, measure:NAME, python:module:name, or lab"
_OF_A_MODEL = ("head", "template", "overflow", "trust_remote_code", "device_map")


class RewardSpec(Section):
    """One source of scores; enough for `load_reward`."""

    model: Place | None = Field(
        None,
        description="folder, package:NAME or hub id of a sequence classifier, verify:NAME, measure:NAME,"
        " python:module:name, lab, or an endpoint",
    )
    arguments: dict[str, Any] = Field(
        {}, description="keyword arguments of a verifier, a measure, or a python: function or class"
    )
    kind: Literal["score", "pairwise"] = Field(
        "score", description="score: a classifier of (x, y); pairwise: one of (x, y1, y2)"
    )
    head: Label | list[float] | dict[str, float] | None = Field(
        None,
        description="how several labels make one score: one's name or number, mean, weights as a list or by name,"
        " or log_odds:LABEL; null where the model has one",
    )
    template: Text | None = Field(
        None,
        description="text with {prompt} and {response}, or {prompt}, {first} and {second} of a pairwise model; null:"
        " the chat template, or both texts as a pair",
    )
    overflow: Literal["mask", "cut"] = Field(
        "mask", description="a pair longer than the context: no score, or the answer's end cut off"
    )
    against: File | None = Field(
        None, description="jsonl file of prompt and response: answers that a pairwise model's reward compares with"
    )
    batch_size: Positive | None = Field(
        None, description="pairs scored at a time; null: 128, or of a term that of reward"
    )
    device_map: DeviceMap = Field(
        None, description="null: the whole model on device; auto: over the devices there are; or module name -> device"
    )
    endpoint: EndpointSettings = EndpointSettings()
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> RewardSpec:
        if (self.model or "").startswith(("python:", "verify:", "measure:")):
            default = type(self).model_fields
            if wrong := [n for n in (*_OF_A_MODEL, "kind") if getattr(self, n) != default[n].default]:
                raise ValueError(f"{', '.join(wrong)}: of a model, and {self.model} is none; leave it out")
        elif self.arguments:
            raise ValueError(
                "arguments are those of a verify:NAME, measure:NAME or python:module:name; a model takes none"
            )
        wanted = ("prompt", "first", "second") if self.kind == "pairwise" else ("prompt", "response")
        if self.kind == "pairwise" and self.model and not self.template:
            raise ValueError(
                "a pairwise model needs template: the text it was trained on, with {prompt}, {first} and {second}"
            )
        if self.template and (lost := [name for name in wanted if f"{{{name}}}" not in self.template]):
            raise ValueError(f"template {self.template[:60]!r} lacks {', '.join(f'{{{name}}}' for name in lost)}")
        if self.against and self.kind != "pairwise":
            raise ValueError(
                "against names answers for a pairwise model to compare with; set kind=pairwise, or drop it"
            )
        return self


class Scale(Section):
    """Known statistics of a term: its values less `mean`, in units of `std`."""

    mean: float = Field(0.0, description="taken off the term's values")
    std: Annotated[float, Field(gt=0)] = Field(description="divides what is left")


class RewardTerm(RewardSpec):
    """One term of a weighted sum: weight * clip(normalise(score))."""

    name: str | None = Field(None, description="what tables call it; null: the model's own name")
    weight: float = Field(1.0, description="factor in the sum; 0 measures the term and leaves it out of the sum")
    normalise: Literal["none", "reference"] | Scale = Field(
        "none", description="reference: by mean and deviation over the reference's answers, taken once; or {mean, std}"
    )
    clip: tuple[float, float] | None = Field(
        None,
        description="[low, high] that values are kept within, after normalising and before weighting; null: no bounds",
    )

    @field_validator("normalise", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        scale = isinstance(given, Scale) or (isinstance(given, dict) and "std" in given)
        if not scale and given not in ("none", "reference"):
            raise ValueError("wanted none, reference, or {mean: M, std: S}; a scale that moves moves the objective")
        return given

    @model_validator(mode="after")
    def _usable(self) -> RewardTerm:
        if not self.model:
            raise ValueError(_NEEDS_MODEL.format("term"))
        if self.clip and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip {list(self.clip)}: its first bound must lie below its second")
        return self


class GateTerm(RewardSpec):
    """One factor of the reward, from 0 to 1: a score, or whether a score passes."""

    name: str | None = Field(None, description="what tables call it; null: the model's own name")
    at_least: float | None = Field(
        None, description="the factor is 1 where the score is at least this, else 0; null: no lower bound"
    )
    at_most: float | None = Field(
        None, description="the same for at most; both null: the score is the factor, and must lie within 0 and 1"
    )

    @model_validator(mode="after")
    def _usable(self) -> GateTerm:
        if not self.model:
            raise ValueError(_NEEDS_MODEL.format("gate"))
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}, so that nothing passes")
        return self


class RewardSettings(RewardSpec):
    """What is maximised, of the original prompt and the response: `model`, or a sum of `terms`, times its `gate`."""

    terms: list[RewardTerm] = Field([], description="in place of model: weight * score, summed over terms")
    gate: list[GateTerm] = Field(
        [], description="factors that model, or the sum of terms, is multiplied by; a factor of 0 makes the reward 0"
    )
    normalise_prompts: Annotated[int, Field(ge=8)] = Field(
        64, description="training prompts whose reference answers give the statistics of normalise=reference"
    )
    max_failed: Share = Field(0.2, description="share of samples without a reward past which the run stops")

    @model_validator(mode="after")
    def _one_of_both(self) -> RewardSettings:
        named = [*(term.name for term in self.terms if term.name), *(gate.name for gate in self.gate if gate.name)]
        if len(set(named)) < len(named):
            raise ValueError(f"two terms have one name among {', '.join(named)}; names tell them apart in every table")
        if not self.terms:
            return self
        if self.model:
            raise ValueError(
                f"model ({self.model}) and terms are both given; keep one (reward.model=null drops the first)"
            )
        fields = RewardSpec.model_fields
        if stray := [n for n in fields if n not in ("model", "batch_size") and getattr(self, n) != fields[n].default]:
            raise ValueError(f"{', '.join(stray)}: with terms, each term has its own; move it there")
        if not any(term.weight for term in self.terms):
            raise ValueError("every term has weight 0, so there is nothing to maximise")
        return self


class PromptTerm(Section):
    """A term on the rewrite: it sees (x, x') and never an answer."""

    term: str = Field(
        description="length, kept, fluency, guards (-1 where they reject x'), or python:module:name of (prompts, x's)"
    )
    name: str | None = Field(None, description="what tables call it; null: the term's own name")
    weight: float = Field(1.0, description="factor in the objective, beside the reward; 0 measures the term alone")
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="length: words (by Unicode's rules) or tokens that cost nothing"
    )
    unit: Literal["words", "tokens"] = Field("words", description="length: tokens are the prompter's")
    keep: list[Kept] = Field(
        ["numbers", "quotes", "placeholders", "words"],
        description="kept: what of x must stand in x': numbers, quotes, placeholders, words, urls, code",
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of a python: function or class")

    @model_validator(mode="after")
    def _known(self) -> PromptTerm:
        python = self.term.startswith("python:")
        if self.term not in PROMPT_TERMS and not python:
            raise ValueError(f"unknown term {self.term!r}; there are {', '.join(PROMPT_TERMS)} and python:module:name")
        own = {"limit": "length", "unit": "length", "keep": "kept", "arguments": "python:"}
        fields = type(self).model_fields
        for option, term in own.items():
            meant = python if term == "python:" else self.term == term
            if not meant and getattr(self, option) != fields[option].default:
                raise ValueError(f"{option} belongs to {term}, not to {self.term}")
        if not self.keep:
            raise ValueError(f"keep is empty; name some of {', '.join(KEPT)}")
        return self

    @property
    def called(self) -> str:
        """Its name in tables."""
        return self.name or self.term.removeprefix("python:")
