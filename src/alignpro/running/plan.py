"""What a run will ask of the frozen model, of rewards behind URLs and of a judge, before any of it: calls, tokens and
money by stage.

Nothing is loaded but the prompts, and those of a data set on the hub are not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from alignpro.config import (
    META_PROMPT,
    OFFLINE,
    EndpointSettings,
    OtherPrompterSettings,
    Settings,
    TrainSettings,
)
from alignpro.data.origin import Origin
from alignpro.data.prompts import Prompts
from alignpro.data.templates import read_templates
from alignpro.errors import AlignProError
from alignpro.evaluate import arms
from alignpro.evaluate.arms.pairing import judged_pairs
from alignpro.headroom.templates import planned
from alignpro.judges.question import question
from alignpro.models.framing import transcript
from alignpro.remote.address import is_elsewhere, is_endpoint
from alignpro.running.prompts import prompts_of
from alignpro.types import Prompt

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
    size = _characters(prompts.test) / CHARACTERS + FRAME
    rewrite = settings.prompter.sampling.max_new_tokens + FRAME
    most = settings.frozen.sampling.max_new_tokens
    needs = []
    if any(term.normalise == "reference" for term in settings.reward.terms):
        calls = min(settings.reward.normalise_prompts, len(prompts.train))
        needs.append(Need("scales", calls, calls * rewrite, calls * most))
    for stage in stages:
        plain, rewritten = _calls(settings, stage, prompts)
        if calls := plain + rewritten:
            needs.append(Need(stage, calls, round(plain * size + rewritten * rewrite), calls * most))
    return needs


def _characters(prompts: Sequence[Prompt]) -> float:
    """Of a prompt with what stands before it, on average."""
    return sum(len(transcript(prompt)) for prompt in prompts) / max(1, len(prompts))


def _prompts(settings: Settings) -> Prompts:
    data = settings.data
    origins = [origin for origin in (Origin.of(data), Origin.of_test(data), Origin.of_validation(data)) if origin]
    if settings.data.prompts is None or any(origin.hub_id for origin in origins):
        named = " and ".join(origin.name for origin in origins if origin.hub_id)
        raise AlignProError(f"the prompts are not here ({named or 'none are named'}), so calls cannot be counted")
    return prompts_of(settings.data, settings.split_seed)


def _calls(settings: Settings, stage: str, prompts: Prompts) -> tuple[int, int]:
    """Answers to prompts as they are, and to rewrites."""
    evaluate, headroom = settings.evaluate, settings.headroom
    train, test = len(prompts.train), len(prompts.test)
    held_out = min(test, evaluate.prompts or test)
    if stage == "training":
        step = settings.train
        if not step.steps:
            return 0, 0
        drawn = step.steps * step.prompts_per_step
        asked = (min(drawn, train) if step.method in OFFLINE else drawn) * step.rewrites * step.responses
        return 0, asked + _monitored(settings, step, prompts)
    if stage == "oracle":
        oracle = settings.rlhf
        calls = oracle.steps * oracle.prompts_per_step * oracle.rewrites * oracle.responses
        return (calls + _monitored(settings, oracle, prompts) if oracle.enabled else 0), 0
    if stage == "evaluation":
        samples = held_out * evaluate.responses
        compared = arms.compared(settings)
        plain = sum(not arm.rewrites for arm in compared)
        extra = sum(arm.extra_calls(evaluate) for arm in compared)
        before = sum(arm.beforehand(settings, train) for arm in compared)
        return samples * plain, samples * (len(compared) - plain + extra) + before
    count = min(headroom.prompts, test)
    noisy = count * headroom.noise_samples * (len(headroom.noise) + 1) if headroom.noise else 0
    trained = bool(settings.train.steps and headroom.after_training)
    framed = 0
    if headroom.templates:
        listed = read_templates(headroom.templates, "headroom.templates")
        framed = planned(listed, prompts.test[:count], headroom).frozen_calls
    return (
        count * headroom.answers + noisy,
        count * headroom.rewrites * headroom.responses + (2 + trained) * noisy + framed,
    )


def _monitored(settings: Settings, train: TrainSettings, prompts: Prompts) -> int:
    """Answers by which a training is watched."""
    steps, evaluate = train.steps, settings.evaluate
    if not (steps and evaluate.every):
        return 0
    looks = 1 + steps // evaluate.every + bool(steps % evaluate.every)
    return looks * min(evaluate.monitor_prompts, len(prompts.validation))


def judged(settings: Settings) -> Need:
    """What a language model that judges is asked: each comparison in both orders, equal answers not left out."""
    evaluate, judge = settings.evaluate, settings.judge
    prompts = _prompts(settings).test[: evaluate.prompts][: judge.prompts]
    comparisons = len(prompts) * min(evaluate.responses, judge.samples or evaluate.responses)
    calls = 2 * comparisons * len(judged_pairs(arms.compared(settings), judge))
    rubric = len(question("", "", "", judge.criteria)[0]) + _characters(prompts)
    asked = rubric / CHARACTERS + FRAME + 2 * settings.frozen.sampling.max_new_tokens
    return Need("judging", calls, round(calls * asked), calls * judge.max_new_tokens)


def seconds(settings: Settings, needs: Sequence[Need]) -> list[Need]:
    """Of the stages' answers those that the second reward sees: all arms' and the small evaluations', no candidates."""
    prompts = _prompts(settings)
    test = len(prompts.test)
    samples = min(test, settings.evaluate.prompts or test) * settings.evaluate.responses * len(arms.compared(settings))
    counts = {
        "training": _monitored(settings, settings.train, prompts),
        "oracle": _monitored(settings, settings.rlhf, prompts) if settings.rlhf.enabled else 0,
        "evaluation": samples,
    }
    return [
        replace(
            n,
            calls=counts[n.stage],
            input=n.input * counts[n.stage] // n.calls,
            output=n.output * counts[n.stage] // n.calls,
        )
        for n in needs
        if counts.get(n.stage)
    ]


def plan_lines(settings: Settings, stages: Sequence[str]) -> Iterator[str]:
    """The plan in lines: a table, what it rests on, and money where prices are known."""
    try:
        needs = plan(settings, stages)
    except AlignProError as error:
        yield str(error)
        return
    remote = is_elsewhere(str(settings.frozen.model))
    yield f"answers that it will ask of the frozen model, {settings.frozen.model}" + ("" if remote else " (local)")
    yield from _table(needs, settings.frozen.endpoint if remote else EndpointSettings())
    for source in (*(settings.reward.terms or (settings.reward,)), *settings.reward.gate):
        if is_endpoint(str(source.model)):
            yield f"grades that it will ask of the reward, {source.model}"
            yield from _table(_grades(needs), source.endpoint)
    if is_endpoint(str(settings.evaluate.second_reward)):
        yield f"grades that it will ask of the second reward, {settings.evaluate.second_reward}"
        yield from _table(_grades(seconds(settings, needs)), settings.evaluate.second_reward_endpoint)
    for own, need in _others(settings) if "evaluation" in stages else ():
        yield f"rewrites that it will ask of {own.model}"
        yield from _table([need], own.endpoint)
    judge = str(settings.evaluate.judge)
    by_url = is_endpoint(judge)
    if "evaluation" in stages and (by_url or judge.startswith("lm:")) and judge not in _rewards(settings):
        yield f"verdicts that it will ask of the judge, {judge}" + ("" if by_url else " (local)")
        yield from _table([judged(settings)], settings.judge.endpoint if by_url else EndpointSettings())
    yield (
        f"tokens are estimates: {CHARACTERS} characters of a prompt are one, rewrites and answers are taken as long as"
        " max_new_tokens lets them be, so that it is less as a rule; retries are not in it"
    )


def _others(settings: Settings) -> Iterator[tuple[OtherPrompterSettings, Need]]:
    """What prompters behind URLs are asked, by their settings."""
    prompts = _prompts(settings).test[: settings.evaluate.prompts]
    calls = len(prompts) * settings.evaluate.responses
    for arm in arms.compared(settings):
        if isinstance(arm, arms.OtherPrompter) and (own := arm.named(settings)):
            said = len(own.template or META_PROMPT) + sum(len(p.prompt + p.rewrite) for p in own.examples)
            asked = (said + len(own.system or "") + _characters(prompts)) / CHARACTERS + FRAME
            yield own, Need("evaluation", calls, round(calls * asked), calls * own.sampling.max_new_tokens)


def _grades(needs: Sequence[Need]) -> list[Need]:
    """What a model that scores is asked, one grade an answer."""
    return [Need(n.stage, n.calls, n.calls * RUBRIC + n.input + n.output, n.calls * GRADE) for n in needs]


def _rewards(settings: Settings) -> tuple[str, str]:
    """Names of the rewards: a judge of such a name is that reward, whose grades are cached."""
    return str(settings.reward.model), str(settings.evaluate.second_reward)


def _table(needs: Sequence[Need], endpoint: EndpointSettings) -> Iterator[str]:
    total = Need("together", sum(n.calls for n in needs), sum(n.input for n in needs), sum(n.output for n in needs))
    price = endpoint.price
    yield f"  {'stage':12}{'calls':>12}{'tokens in':>14}{'tokens out':>14}" + (f"{'money':>12}" if price else "")
    for need in (*needs, total):
        line = f"  {need.stage:12}{need.calls:>12,}{need.input:>14,}{need.output:>14,}"
        cost = (price.input * need.input + price.output * need.output) / 1e6 if price else 0.0
        yield line + (f"{cost:>12.2f}" if price else "")
