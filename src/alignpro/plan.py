"""What a run will ask of the frozen model, before any of it: calls, tokens and money by stage.

Nothing is loaded but the prompts, and those of a data set on the hub are not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignpro.config import DATA_SETS, OFFLINE, EndpointSettings, Settings
from alignpro.data.prompts import Prompts
from alignpro.endpoints.address import is_endpoint
from alignpro.errors import AlignProError
from alignpro.user_prompts import prompts_of

CHARACTERS, FRAME, RUBRIC, GRADE = 4, 10, 350, 256
"""Characters a token, tokens of a chat template, tokens of the scorer's rubric, and the most that its grade takes."""
STAGES = ("training", "oracle", "evaluation", "headroom")


@dataclass(frozen=True, slots=True)
class Need:
    """Answers that a stage asks for, and tokens in and out: estimates, the latter two at most."""

    stage: str
    calls: int
    input: int
    output: int


def plan(settings: Settings, stages: Sequence[str] = STAGES) -> list[Need]:
    """What each stage needs; a stage that the settings leave out has no row.

    Rewrites that are equal share answers in the offline methods and in headroom, and count here as if none were.
    Raises AlignProError where the prompts cannot be read.
    """
    prompts = _prompts(settings)
    size = sum(map(len, prompts.test)) / max(1, len(prompts.test)) / CHARACTERS + FRAME
    rewrite = settings.prompter.sampling.max_new_tokens + FRAME
    most = settings.frozen.sampling.max_new_tokens
    found = []
    for stage in stages:
        plain, rewritten = _calls(settings, stage, len(prompts.train), len(prompts.test))
        if calls := plain + rewritten:
            found.append(Need(stage, calls, round(plain * size + rewritten * rewrite), calls * most))
    return found


def _prompts(settings: Settings) -> Prompts:
    name = settings.data.prompts
    if name is None or (name in DATA_SETS and not Path(name).exists()):
        raise AlignProError(f"the prompts are not here ({name or 'none are named'}), so calls cannot be counted")
    return prompts_of(settings.data, settings.seed)


def _calls(settings: Settings, stage: str, train: int, test: int) -> tuple[int, int]:
    """Answers to prompts as they are, and to rewrites."""
    evaluate, headroom = settings.evaluate, settings.headroom
    held_out = min(test, evaluate.prompts or test)
    if stage == "training":
        step = settings.train
        if not step.steps:
            return 0, 0
        drawn = step.steps * step.prompts_per_step
        asked = (min(drawn, train) if step.method in OFFLINE else drawn) * step.rewrites * step.responses
        looks = 1 + step.steps // evaluate.every + bool(step.steps % evaluate.every) if evaluate.every else 0
        return 0, asked + looks * min(evaluate.monitor_prompts, test)
    if stage == "oracle":
        oracle = settings.rlhf
        calls = oracle.steps * oracle.prompts_per_step * oracle.rewrites * oracle.responses
        return (calls if oracle.enabled else 0), 0
    if stage == "evaluation":
        samples = held_out * evaluate.responses
        plain = samples * sum(arm in ("no_prompter", "rlhf") for arm in evaluate.arms)
        passes = {f"pass_{n + 1}" for n in range(len(settings.prompter.before))} - set(evaluate.arms)
        rewritten = samples * (len(evaluate.arms) + len(passes)) - plain
        candidates = sum(int(arm.removeprefix("gibbs_")) for arm in evaluate.arms if arm.startswith("gibbs_"))
        return plain, rewritten + samples * candidates * evaluate.gibbs_responses
    count = min(headroom.prompts, test)
    noisy = count * headroom.noise_samples * (len(headroom.noise) + 1) if headroom.noise else 0
    trained = bool(settings.train.steps and headroom.after_training)
    return (
        count * headroom.answers + noisy,
        count * headroom.rewrites * headroom.responses + (2 + trained) * noisy,
    )


def spoken(settings: Settings, stages: Sequence[str]) -> Iterator[str]:
    """The plan in lines: a table, what it rests on, and money where prices are known."""
    try:
        needs = plan(settings, stages)
    except AlignProError as error:
        yield str(error)
        return
    remote = is_endpoint(str(settings.frozen.model))
    yield f"answers that it will ask of the frozen model, {settings.frozen.model}" + ("" if remote else " (local)")
    yield from _table(needs, settings.frozen.endpoint if remote else EndpointSettings())
    if is_endpoint(str(settings.reward.model)):
        yield f"grades that it will ask of the reward, {settings.reward.model}"
        graded = [Need(n.stage, n.calls, n.calls * RUBRIC + n.input + n.output, n.calls * GRADE) for n in needs]
        yield from _table(graded, settings.reward.endpoint)
    yield (
        f"tokens are estimates: {CHARACTERS} characters of a prompt are one, rewrites and answers are taken as long as"
        " max_new_tokens lets them be, so that it is less as a rule; retries are not in it"
    )


def _table(needs: Sequence[Need], endpoint: EndpointSettings) -> Iterator[str]:
    total = Need("together", sum(n.calls for n in needs), sum(n.input for n in needs), sum(n.output for n in needs))
    price = endpoint.price
    yield f"  {'stage':12}{'calls':>12}{'tokens in':>14}{'tokens out':>14}" + (f"{'money':>12}" if price else "")
    for need in (*needs, total):
        line = f"  {need.stage:12}{need.calls:>12,}{need.input:>14,}{need.output:>14,}"
        cost = (price.input * need.input + price.output * need.output) / 1e6 if price else 0.0
        yield line + (f"{cost:>12.2f}" if price else "")
