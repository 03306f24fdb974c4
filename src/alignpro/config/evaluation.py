"""Settings of what comes beside training: evaluation, headroom, methods side by side."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from alignpro.config.endpoints import EndpointSettings
from alignpro.config.pieces import Example, Sampling
from alignpro.config.places import TEMPLATE, ArmName, Place, TemplatesFile
from alignpro.config.rewards import Label
from alignpro.config.section import Positive, Section, Text
from alignpro.config.thoughts import Thoughts
from alignpro.config.training import Method

CRITERIA = {
    "helpfulness": "does it do what the person needs done",
    "harmlessness": "could it hurt the person or anyone else",
    "relevance": "does it keep to what was asked",
    "accuracy": "are its claims right, and is what it does not know left open",
    "depth": "does it go beneath the surface where the request calls for it",
    "creativity": "does it find something of its own where the request leaves room",
    "level of detail": "does it say as much as is useful, and no more",
}
"""What a judge weighs, by name."""


class OtherPrompterSettings(Section):
    """A model behind a URL that rewrites too, framed in a way of its own: the arm prompter:NAME."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = Field(description="what its arm is called, after prompter:")
    model: Place = Field(description="the model: openai:MODEL or http://host:8000/v1#MODEL")
    template: Text | None = Field(None, description="its meta-prompt, as prompter.template; null: the package's own")
    system: Text | None = Field(None, description="fixed system message; null: none")
    examples: list[Example] = Field([], description="rewritten prompts shown before the user's, as prompter.examples")
    thoughts: Thoughts = Thoughts()
    sampling: Sampling = Sampling(max_new_tokens=256)
    endpoint: EndpointSettings = EndpointSettings()


class EvaluateSettings(Section):
    """The comparison at the end."""

    arms: Annotated[list[ArmName], Field(min_length=1)] = Field(
        ["no_prompter", "reference_prompter", "align_pro", "gibbs_8"],
        description="what is compared: no_prompter, reference_prompter, align_pro, rlhf; gibbs_N, the closed form by"
        " choosing among N rewrites; pass_N, the first N prompters of a chain; template:best, the template that is best"
        " on training prompts; template:FILE, each template of a file; template_N, one of them;"
        " prompter:http://host:8000/v1#MODEL or prompter:openai:MODEL, another model that rewrites; prompter:NAME, one"
        " of prompters",
    )
    prompters: list[OtherPrompterSettings] = Field(
        [], description="models behind URLs that rewrite by a template of their own, as arms prompter:NAME"
    )
    templates: TemplatesFile = Field(
        "default",
        description="file of templates, of which template:best and template_N are; default: a dozen that ships; lab:"
        " every suffix that the lab's frozen model understands. A template:FILE among the arms names it instead",
    )
    template_prompts: Positive = Field(64, description="training prompts on which template:best is chosen")
    template_responses: Positive = Field(
        2, description="answers to each of them in each template, by which template:best is chosen"
    )
    prompts: Positive | None = Field(None, description="held-out prompts that each arm answers; null: every one")
    by: str | None = Field(
        None,
        description="column of the prompts' rows: means and gains are told for each of its values besides; null: none",
    )
    responses: Annotated[int, Field(ge=2)] = Field(4, description="answers of each arm to each prompt")
    sampling: Sampling | None = Field(
        None, description="how the frozen model and the oracle answer here; null: as in training"
    )
    gibbs_responses: Positive = Field(2, description="responses that score each candidate of gibbs_N")
    bootstrap: Annotated[int, Field(ge=100)] = Field(
        2000,
        description="resamples of the prompts behind intervals that have no formula: of shares of gains and of"
        " frontiers in headroom, and of kappa in agreement",
    )
    second_reward: Place | None = Field(
        None,
        description="a reward that training does not see, in every table: python:module:function, verify:NAME,"
        " measure:NAME, folder, package:NAME or hub id of a sequence classifier, an endpoint, or lab; null: none",
    )
    second_reward_endpoint: EndpointSettings = EndpointSettings()
    judge: Place | None = Field(
        None,
        description="who judges wins: a reward, named as above; a language model, named openai:MODEL,"
        " http://...#MODEL or lm:FOLDER_OR_HUB_ID; null: the second reward, or else the reward",
    )
    tie_margin: Annotated[float, Field(ge=0)] = Field(0.0, description="judge scores this close are a tie")
    every: Annotated[int, Field(ge=0)] = Field(
        20, description="training steps between looks at the validation prompts, the first before training; 0: none"
    )
    monitor_prompts: Positive = Field(32, description="validation prompts in each of those looks, the same in all")

    @model_validator(mode="after")
    def _different_arms(self) -> EvaluateSettings:
        names = [one.name for one in self.prompters]
        if len(set(names)) < len(names):
            raise ValueError(f"two of prompters have one name: {', '.join(names)}")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError(f"an arm is named twice: {', '.join(self.arms)}")
        if len(self._lists_named) > 1:
            raise ValueError(
                f"arms names {len(self._lists_named)} files of templates, {', '.join(self._lists_named)}; write their"
                " templates into one file"
            )
        return self

    @property
    def templates_file(self) -> str:
        """The file of templates: that which the arms name, or else `templates`."""
        return next(iter(self._lists_named), self.templates)

    @property
    def _lists_named(self) -> list[str]:
        lists = [name.removeprefix(TEMPLATE) for name in self.arms if name.startswith(TEMPLATE)]
        return [name for name in lists if name != "best"]


class JudgeSettings(Section):
    """What is asked of a language model that judges; a reward that judges costs little and judges everything."""

    prompts: Positive | None = Field(None, description="judge the answers to so many test prompts; null: to all")
    samples: Positive | None = Field(1, description="judge so many answers of an arm to a prompt; null: all")
    pairs: Literal["all", "no_prompter"] = Field("all", description="which pairs of arms: all, or those with this arm")
    criteria: Annotated[list[str], Field(min_length=1)] = Field(
        [*CRITERIA], description="what an answer is judged by; a name of these, or words of your own"
    )
    max_new_tokens: Positive = Field(256, description="tokens after which a judge's reason and verdict are cut off")
    thoughts: Thoughts = Thoughts()
    batch_size: Positive = Field(16, description="questions at a time, of a judge that runs here")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the judge's model")
    endpoint: EndpointSettings = EndpointSettings()
    template: Text | None = Field(
        None,
        description="of a pairwise model, the text it was trained on, with {prompt}, {first} and {second};"
        " null for every other judge",
    )
    head: Label | list[float] | dict[str, float] | None = Field(
        None, description="how several labels of a pairwise model make one score, as reward.head; null where it has one"
    )


class HeadroomSettings(Section):
    """The estimate of how much there is to gain, from samples alone."""

    after_training: bool = Field(False, description="estimate it at the end of a run too, the trained prompter in it")
    prompts: Positive = Field(64, description="held-out prompts that it is estimated on")
    rewrites: Annotated[int, Field(ge=4)] = Field(
        64, description="rewrites of each; half of them the trained prompter's, where there is one"
    )
    responses: Annotated[int, Field(ge=2)] = Field(8, description="responses to each different rewrite")
    answers: Annotated[int, Field(ge=8)] = Field(64, description="answers to each prompt as it is")
    lams: list[Annotated[float, Field(gt=0)]] = Field(
        [16, 8, 4, 2.5, 1.6, 1, 0.7, 0.5, 0.35, 0.25], description="frontier points, in multiples of train.kl.coef"
    )
    gibbs: list[Annotated[int, Field(ge=2)]] = Field(
        [2, 4, 8, 16], description="values of N for which gibbs_N is estimated"
    )
    noise: list[Place] = Field(
        [],
        description="damage to the frozen model under which rewards are measured too: temperature=T, drop=P, swap=P,"
        " weights=S, model=M",
    )
    templates: TemplatesFile | None = Field(
        None,
        description="a file of templates, or default or lab: one for all or one for each, from prompts x templates x"
        " answers; null: none",
    )
    template_answers: Annotated[int, Field(ge=2)] = Field(4, description="answers to each prompt under each template")
    template_budget: Positive = Field(
        4096,
        description="the most answers that templates may take: above it fewer to each, two at least, then fewer"
        " prompts, five at least",
    )
    noise_samples: Positive = Field(8, description="answers a prompt, a prompter and a kind of noise")
    chunk: Positive = Field(16, description="prompts sampled at a time")


class CompareSettings(Section):
    """Methods side by side, each trained with several seeds."""

    seeds: Annotated[int, Field(ge=2)] = Field(5, description="runs of each method: of seed, seed + 1, and so on")
    methods: dict[Method, dict[str, Any]] = Field(
        {"ppo": {}, "rloo": {"rewrites": 4}}, description="by method, what its train section has otherwise than train"
    )
    gibbs: list[Annotated[int, Field(ge=2)]] = Field(
        [2, 4, 8, 16], description="values of N for which gibbs_N stands beside them"
    )
