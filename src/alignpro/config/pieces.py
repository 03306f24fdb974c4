"""Settings of the flow's pieces: prompter, frozen model, prompts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from alignpro.config.endpoints import EndpointSettings, Seconds
from alignpro.config.places import File, Place
from alignpro.config.section import Positive, Section, Text
from alignpro.config.thoughts import Thoughts
from alignpro.config.weights import DeviceMap, LoraSettings

Overflow = Literal["refuse", "cut"]
Format = Literal["auto", "prompts", "preferences", "ultrafeedback", "helpsteer", "orca"]
DATA_SETS = ("ultrafeedback", "helpsteer", "orca")
"""Data sets that the hub has; files of theirs, and of preferences of one's own, are known by their fields."""


LAB_PROMPTS = ("lab", "lab:fact", "lab:howto", "lab:advice")
"""Prompts of the embedded lab: all, or those of one kind of request."""


class Sampling(Section):
    """How tokens are drawn."""

    max_new_tokens: Positive = Field(128, description="tokens after which a text is cut off")
    temperature: Annotated[float, Field(gt=0)] = Field(
        1.0, description="1 draws from the model's own distribution; lower keeps to its likeliest tokens"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="draw among the likeliest tokens that together have this probability; 1 keeps every token, as a"
        " prompter in training must",
    )
    top_k: Annotated[int, Field(ge=0)] = Field(
        0, description="draw among so many likeliest tokens; 0 keeps every token, as a prompter in training must"
    )


class Example(Section):
    """A prompt and a rewrite of it that the prompter is shown as turns before its own."""

    prompt: Text = Field(description="a user's prompt")
    rewrite: Text = Field(description="the rewrite that is wanted of it")


class PrompterSettings(Section):
    """The small model that rewrites; it is the one that is trained."""

    model: Place | None = Field(None, description="folder, .gguf file, package:NAME or hub id of a causal LM, or lab")
    template: Text | None = Field(
        None,
        description="meta-prompt, with the user's prompt at {prompt}, or between marks that it cannot close at"
        " {fenced}, and what was said before it, quoted, at {context} or else before the prompt; null takes the"
        " package's own",
    )
    examples: list[Example] = Field(
        [], description="rewritten prompts shown before the user's: prompt, rewrite of each"
    )
    system: Text | None = Field(None, description="fixed system message; null: none but the chat template's own")
    thoughts: Thoughts = Thoughts()
    lora: LoraSettings | None = Field(None, description="train an adapter; null trains every weight")
    device_map: DeviceMap = Field(
        None, description="null: the whole model on device; auto: over the devices there are; or module name -> device"
    )
    sampling: Sampling = Sampling()
    overflow: Overflow = Field(
        "refuse",
        description="a prompt longer than the context: refuse, or cut: its oldest turns first, then its own end",
    )
    batch_size: Positive = Field(128, description="texts sampled or scored at a time; lower it where memory runs out")
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model, and with those of before"
    )
    before: list[Place] = Field(
        [], description="fixed prompters that rewrite first, in this order: folders, package:NAME, hub ids, runs, lab"
    )


class FrozenSettings(Section):
    """The model that answers; its weights are never touched."""

    model: Place | None = Field(
        None,
        description="folder, .gguf file, package:NAME, hub id, lab, an endpoint: openai:MODEL,"
        " http://host:8000/v1#MODEL, or a function of messages: python:module:name",
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of a python: function or class")
    concurrency: Positive = Field(
        8, description="calls of a python: function under way at most; 1 for what is not safe in threads"
    )
    timeout: Seconds = Field(300.0, description="seconds for one call of a python: function")
    template: Text | None = Field(
        None, description="what is said to it, with the prompt at {prompt} or {fenced}; null: the prompt as it is"
    )
    system: Text | None = Field(
        None,
        description="system message of prompts that have none of their own; null: none but the chat template's own",
    )
    thoughts: Thoughts = Thoughts()
    device_map: DeviceMap = Field(
        None, description="null: the whole model on device; auto: over the devices there are; or module name -> device"
    )
    sampling: Sampling = Sampling(max_new_tokens=256)
    overflow: Overflow = Field(
        "refuse",
        description="a prompt longer than the context: refuse, or cut: its oldest turns first, then its own end",
    )
    batch_size: Positive = Field(
        128, description="answers sampled at a time by a model that runs here; lower it where memory runs out"
    )
    trust_remote_code: bool = Field(
        False, description="run Python code that comes with the model, and with those of headroom.noise"
    )
    endpoint: EndpointSettings = EndpointSettings()
    cache: File | None = Field(
        None,
        description="file of an endpoint's or a function's answers, which runs may share; null: answers.sqlite in the"
        " run's folder",
    )

    @model_validator(mode="after")
    def _arguments_of_a_function(self) -> FrozenSettings:
        if self.arguments and not (self.model or "").startswith("python:"):
            raise ValueError("arguments are those of a python:module:name; a model takes none")
        if self.thoughts.template_arguments and (self.model or "").startswith("python:"):
            raise ValueError("thoughts.template_arguments are a chat template's; give the function what it takes")
        return self


class DataSettings(Section):
    """User prompts."""

    prompts: Place | None = Field(
        None,
        description="txt, jsonl, json, csv, tsv or parquet file, .gz or not; a folder that `datasets` saved; a data"
        " set of the hub as OWNER/NAME or hub:NAME, or ultrafeedback, helpsteer, orca; lab, or lab:fact, lab:howto,"
        " lab:advice; task:constraints or task:plain",
    )
    test: Place | None = Field(
        None,
        description="a file, folder or data set of its own to test on, as prompts; all other prompts train, and"
        " test_share is not used. null: a share of prompts",
    )
    format: Format = Field(
        "auto",
        description="a known data set, preferences of one's own (prompt, chosen, rejected), or prompts alone; auto:"
        " told from the rows, and said at the start",
    )
    column: str = Field(
        "prompt",
        description="column of the prompt, a text or a list of turns, where prompts stand alone; where the default is"
        " not there: messages, conversations or conversation",
    )
    system: str | None = Field(
        "system",
        description="column of a system message beside the prompt; the default is used where it is there and holds"
        " texts. null: none",
    )
    history: str | None = Field(
        "history",
        description="column of earlier turns beside the prompt; the default is used where it is there and holds lists."
        " null: none",
    )
    columns: list[str] | None = Field(
        None, description="other columns that a prompt keeps, for rewards and judges that name them; null: all"
    )
    config: str | None = Field(None, description="config (subset) of a data set of the hub; null: its only one")
    split: str | None = Field(
        None, description="split of a data set of the hub, or of a saved folder; null: train, or the only one saved"
    )
    validation_split: str | None = Field(
        None, description="the same of validation, where that is a data set; null: validation, or the only one saved"
    )
    test_split: str | None = Field(None, description="the same of test; null: test, or the only one saved")
    test_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of the prompts held out from training"
    )
    validation: Annotated[float, Field(ge=0, lt=1)] | Place = Field(
        0.1,
        description="what training is watched by, for train.take and train.patience too: a share of the training"
        " prompts, which then train nothing, or a file, folder or data set of its own, as prompts; 0: nothing",
    )
    limit: Positive | None = Field(None, description="use at most so many prompts; null: all")
    seed: int | None = Field(
        0,
        description="decides which prompts are held out, and which are used under limit; runs that differ in the run's"
        " seed alone share one test set. null: the run's seed",
    )

    @model_validator(mode="after")
    def _one_format(self) -> DataSettings:
        if self.prompts in (*LAB_PROMPTS, *DATA_SETS) and self.format not in ("auto", self.prompts):
            raise ValueError(f"format {self.format} is not that of prompts {self.prompts}; leave it at auto")
        for name in ("test", "validation"):
            other = getattr(self, name)
            if isinstance(other, str) and {self.prompts, other} & set(LAB_PROMPTS):
                raise ValueError(f"{name} {other} beside prompts {self.prompts}: the lab has {name} prompts of its own")
        return self
