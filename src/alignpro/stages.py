"""The stages of a run: train the prompter, train the oracle, compare the arms, estimate the headroom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alignpro import folder as files
from alignpro import processes
from alignpro.assemble import Pieces, load_other_frozen, load_trained, trainable
from alignpro.config import OFFLINE, Scale, Settings, TrainSettings
from alignpro.errors import RunFailure
from alignpro.evaluate.arms import ArmResult, answering_by, run_arm, sample_rows
from alignpro.evaluate.judged_arms import comparisons, judge_arms
from alignpro.evaluate.judging import Answered
from alignpro.evaluate.summary import summarise
from alignpro.folder import RunFolder
from alignpro.headroom.estimates import Estimator
from alignpro.headroom.robustness import robustness
from alignpro.headroom.samples import gather
from alignpro.interrupt import StopRequest
from alignpro.models.fingerprint import fingerprint
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.models.lora import is_adapted, save_adapter
from alignpro.progress import Progress
from alignpro.rewards.composite import CompositeReward
from alignpro.rewards.judge import RewardJudge
from alignpro.rewards.llm_judge import LlmJudge
from alignpro.rng import derive
from alignpro.rollout import rollout
from alignpro.train import offline
from alignpro.train import prompter as prompter_training
from alignpro.train import rlhf as rlhf_training
from alignpro.train.collected import Collect, check_failures
from alignpro.train.loop import prompts_of_step, train
from alignpro.train.methods import learner
from alignpro.types import Judge, RewardResult

Track = Callable[..., None]
"""(a step's row, prefix of its names, steps before it)."""


@dataclass(frozen=True)
class Run:
    """An open run: its folder, its pieces, and how to speak and stop."""

    folder: RunFolder
    pieces: Pieces
    progress: Progress
    stop: StopRequest

    @property
    def settings(self) -> Settings:
        return self.pieces.settings


@dataclass(frozen=True)
class _Unscored:
    """No reward yet: answers are wanted before the reward's scales are known."""

    name: str = "unscored"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> RewardResult:
        return RewardResult(np.full(len(prompts), np.nan), ("not scored yet",) * len(prompts))


def with_scales(run: Run) -> Run:
    """The run with every term of its reward normalised by fixed statistics: those in its folder, or measured now.

    They are of the reference prompter's answers to training prompts, taken once, so that what is maximised stays the
    same through training, evaluation and resuming. Raises RewardFailure where a term has no spread.
    """
    reward, settings = run.pieces.reward, run.settings
    if not isinstance(reward, CompositeReward) or not reward.unscaled:
        return run
    path = run.folder.reward_scales
    found = files.read_json(path)
    if found is None:
        prompts = run.pieces.prompts.train[: settings.reward.normalise_prompts]
        with run.progress.task("measuring the reward's terms", 1) as advance:
            made = rollout(
                prompts,
                run.pieces.pipeline(run.pieces.reference),
                run.pieces.frozen,
                _Unscored(),
                seed=derive(settings.seed, "scales"),
            )
            texts = [(x, row[0][0]) for x, row in zip(prompts, made.responses, strict=True)]
            usable = [(x, y.text) for x, y in texts if y.failure is None]
            scales = reward.measure([x for x, _ in usable], [y for _, y in usable])
            advance(1, "")
        found = {
            "prompts": len(prompts),
            "frozen_calls": made.frozen_calls,
            "terms": {name: scale.model_dump() for name, scale in scales.items()},
        }
        files.write_json(path, found)
    fixed = reward.scaled({name: Scale(**scale) for name, scale in found["terms"].items()})
    judge = run.pieces.judge
    if isinstance(judge, RewardJudge) and judge.reward is reward:
        judge = replace(judge, reward=fixed)
    return replace(run, pieces=replace(run.pieces, reward=fixed, judge=judge))


def train_prompter(run: Run, track: Track) -> None:
    """Train the prompter on (9) and write it as a plain Hugging Face model to prompter/; `track` gets every step."""
    settings, pieces = run.settings, run.pieces
    if run.folder.trained:
        return
    watched = pieces.prompts.test[: settings.evaluate.monitor_prompts]
    own = (pieces.reference.lm, settings.prompter.lora, settings.train, "prompter.lora", settings.seed)
    with _unchanged(pieces), trainable(*own) as (policy_lm, reference_lm):
        policy, reference = LocalPrompter(policy_lm), LocalPrompter(reference_lm)
        models = replace(pieces, reference=reference).models(policy, None)

        def monitor(step: int) -> None:
            arm = run_arm("align_pro", models, watched, settings, derive(settings.seed, "monitor"), 1)
            files.append_jsonl(run.folder.samples, sample_rows(arm, "monitor", step))

        collect, spent = _experience(run, policy, reference)
        spent += int((files.read_json(run.folder.reward_scales) or {}).get("frozen_calls", 0))
        _train(
            run,
            "training the prompter",
            policy_lm,
            reference_lm,
            collect,
            settings.train,
            folder=run.folder.path,
            seed=derive(settings.seed, "train"),
            monitor=monitor,
            monitor_every=settings.evaluate.every,
            spent=spent,
            track=track,
        )
        processes.by_first(lambda: _write_model(policy_lm, run.folder.prompter))
    processes.by_first(lambda: _publish(run.folder.prompter))


@contextmanager
def _unchanged(pieces: Pieces) -> Iterator[None]:
    """Check that training left the frozen model and the reference, an adapter's base, as they were to the last bit.

    Raises RunFailure where they did.
    """
    watched = {"the reference prompter": pieces.reference.lm}
    if isinstance(pieces.frozen, LocalFrozenModel):
        watched["the frozen model"] = pieces.frozen.lm
    before = {name: fingerprint(lm.model) for name, lm in watched.items()}
    yield
    for name, lm in watched.items():
        if fingerprint(lm.model) != before[name]:
            raise RunFailure(
                f"the weights of {name} changed during training, which is a defect of alignpro; please report it"
            )


def _experience(run: Run, policy: LocalPrompter, reference: LocalPrompter) -> tuple[Collect, int]:
    """Where training's samples come from, and the answers asked of the frozen model beforehand."""
    settings, pieces = run.settings, run.pieces
    if settings.train.method not in OFFLINE:
        collect = prompter_training.collector(
            pieces.pipeline(policy), pieces.frozen, pieces.reward, settings.train, pieces.prompt_terms
        )
        return collect, 0
    seed, per_step = derive(settings.seed, "train"), settings.train.prompts_per_step
    steps = [prompts_of_step(pieces.prompts.train, s + 1, per_step, seed) for s in range(settings.train.steps)]
    prompts = list(dict.fromkeys(prompt for step in steps for prompt in step))
    with run.progress.task("sampling the reference", len(prompts)) as advance:
        gathered = offline.gather(
            prompts,
            pieces.pipeline(reference),
            pieces.frozen,
            pieces.reward,
            settings.train,
            path=run.folder.path / "rollouts.jsonl",
            seed=derive(settings.seed, "offline"),
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            prompt_terms=pieces.prompt_terms,
        )
    return offline.replay(gathered), offline.calls(gathered)


def train_rlhf(run: Run, track: Track) -> None:
    """Train the oracle by the same PPO on (2) and write it to rlhf/model/; trackers see its steps after the
    prompter's, since they take none twice."""
    settings, pieces = run.settings, run.pieces
    target = run.folder.rlhf / "model"
    if files.holds_model(target):
        return
    run.folder.rlhf.mkdir(exist_ok=True)
    frozen = pieces.local_frozen.lm
    own = (frozen, settings.rlhf.lora, settings.rlhf, "rlhf.lora", settings.seed)
    with _unchanged(pieces), trainable(*own) as (policy, reference):
        _train(
            run,
            "training the RLHF oracle",
            policy,
            reference,
            rlhf_training.collector(LocalFrozenModel(policy), pieces.reward, settings.rlhf),
            settings.rlhf,
            folder=run.folder.rlhf,
            seed=derive(settings.seed, "rlhf"),
            track=lambda row: track(row, "rlhf/", settings.train.steps),
        )
        processes.by_first(lambda: _write_model(policy, target))
    processes.by_first(lambda: _publish(target))


def _train(
    run: Run,
    what: str,
    policy: LanguageModel,
    reference: LanguageModel,
    collect: Collect,
    settings: TrainSettings,
    **own: Any,
) -> None:
    """Train one policy of the run by its settings' method; `own` is what `train` needs to know of this one alone."""
    with run.progress.task(what, settings.steps) as advance:
        train(
            policy,
            reference,
            learner(policy.model, settings),
            collect,
            run.pieces.prompts.train,
            settings,
            max_failed=run.settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
            say=run.progress.say,
            **own,
        )


def evaluate(run: Run) -> dict[str, Any]:
    """Run every arm on the held-out prompts with the models as saved, and write evaluation.json and samples.jsonl."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    oracle = folder.rlhf / "model"
    models = pieces.models(trained, load_other_frozen(settings, oracle) if files.holds_model(oracle) else None)
    if settings.evaluate.sampling is not None:
        models = answering_by(models, settings.evaluate.sampling)
    prompts = pieces.prompts.test[: settings.evaluate.prompts]
    seed = derive(settings.seed, "evaluate")
    files.keep_rows(folder.samples, lambda row: row["stage"] == "monitor")
    names = [n for n in arm_names(settings) if not (n == "align_pro" and trained is None)]
    arms: list[ArmResult] = []
    with run.progress.task("evaluating", len(names)) as advance:
        for number, name in enumerate(names):
            advance(number, name)
            arm = run_arm(name, models, prompts, settings, seed, settings.evaluate.responses)
            files.append_jsonl(folder.samples, sample_rows(arm, "evaluation", settings.train.steps))
            check_failures(arm.rewards, arm.failures, settings.reward.max_failed, f"arm {name}")
            arms.append(arm)
            run.stop.check()
        second = pieces.second_reward.name if pieces.second_reward else None
        summary = summarise(
            arms,
            pieces.reward.name,
            second,
            settings.evaluate.bootstrap,
            derive(seed, "bootstrap"),
        )
        advance(len(names), "")
    summary["settings"] = settings.evaluate.model_dump(mode="json")
    summary |= judge(folder, settings, pieces.judge, arms, run.progress, run.stop, summary)
    summary["cost"] |= endpoint_costs(run)
    files.write_json(folder.evaluation, summary)
    return summary


def judge(
    folder: RunFolder,
    settings: Settings,
    by: Judge,
    arms: Sequence[Answered],
    progress: Progress,
    stop: StopRequest,
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Judge the arms' answers: the parts of evaluation.json that change, win rates by other judges kept.

    A language model's replies are kept in judge_answers.db and asked for once; every comparison goes to
    judgements.jsonl. Raises as the judge, and Interrupted.
    """
    used: dict[str, Any] = {"judge": settings.evaluate.judge, "tie_margin": settings.evaluate.tie_margin}
    limits, cost = None, dict(summary["cost"])
    if isinstance(by, LlmJudge):
        by, limits = by.keeping(folder.judge_answers), settings.judge
        used |= limits.model_dump(mode="json")
    seed = derive(settings.seed, "evaluate")
    with progress.task(f"judging by {by.name}", comparisons(arms, limits)) as advance:

        def judged() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            luck = derive(seed, "bootstrap")
            return judge_arms(arms, by, limits, settings.evaluate.bootstrap, luck, advance, stop.check)

        rows, win_rates = processes.by_first(judged) if limits else judged()  # one file of verdicts, one asker
    if unparsed := sum(row["unparsed"] for row in win_rates):
        reasons = Counter(failure for row in rows for failure in {order.get("failure") for order in row["orders"]})
        del reasons[None]
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        progress.say(f"judge {by.name}: {unparsed} comparisons have no verdict and were left out: {why}")
    if isinstance(by, LlmJudge):
        cost["judge"] = by.cost()
    others = [row for row in summary["win_rates"] if row["judge"] != by.name]
    kept = {row["judge"] for row in others}
    files.keep_rows(folder.judgements, lambda row: row["judge"] in kept)
    files.append_jsonl(folder.judgements, rows)
    judges = {name: own for name, own in summary.get("judges", {}).items() if name in kept}
    return {"win_rates": [*others, *win_rates], "judges": {**judges, by.name: used}, "cost": cost}


def endpoint_costs(run: Run) -> dict[str, Any]:
    """What models behind URLs have cost in this run so far, by model; nothing where there is none."""
    found = run.pieces.endpoints.report()
    return {"endpoints": found} if found else {}


def arm_names(settings: Settings) -> list[str]:
    """The arms of the settings, and of a chain every pass before the last."""
    passes = [f"pass_{number + 1}" for number in range(len(settings.prompter.before))]
    arms = settings.evaluate.arms
    return [*arms, *(name for name in passes if name not in arms)]


def headroom(run: Run) -> dict[str, Any]:
    """Estimate how much there is to gain, the trained prompter in it where there is one, and write headroom.json."""
    settings, pieces, folder = run.settings, run.pieces, run.folder
    trained = load_trained(settings, folder.prompter) if folder.trained else None
    models = pieces.models(trained, None)
    prompts = pieces.prompts.test
    chosen = sorted(range(len(prompts)), key=lambda i: derive(settings.seed, "headroom", prompts[i]))
    prompts = tuple(prompts[i] for i in sorted(chosen[: settings.headroom.prompts]))
    seed = derive(settings.seed, "headroom")
    identity = [
        fingerprint((trained.lm if trained else pieces.reference.lm).model),
        pieces.frozen_weights or str(settings.frozen.model),
    ]
    with run.progress.task("estimating the headroom", len(prompts)) as advance:
        samples = gather(
            prompts,
            models,
            trained.lm if trained else None,
            settings.headroom,
            path=folder.path / "headroom_samples.jsonl",
            identity=" ".join([*identity, pieces.reward.name, str(trained is not None)]),
            seed=seed,
            max_failed=settings.reward.max_failed,
            stop=run.stop,
            advance=advance,
        )
    estimator = Estimator(
        samples,
        settings.train.kl.coef,
        settings.rlhf.kl.coef,
        settings.headroom,
        settings.evaluate.gibbs_responses,
        settings.evaluate.bootstrap,
        derive(seed, "bootstrap"),
    )
    found = estimator.report(pieces.reward.name)
    if settings.prompt_terms:
        left_out = ", ".join(term.called for term in settings.prompt_terms)
        found["left_out"] = [term.called for term in settings.prompt_terms]
        found["advice"]["text"] += f" This is of the reward alone; the terms on the rewrite ({left_out}) are left out."
    if kinds := settings.headroom.noise:
        with run.progress.task("adding noise", len(kinds) + 1) as advance:

            def next_kind(number: int, name: str) -> None:
                run.stop.check()
                advance(number, name)

            found["noise"] = robustness(
                estimator,
                models,
                kinds,
                lambda name: load_other_frozen(settings, name),
                derive(seed, "noise"),
                next_kind,
            )
            advance(len(kinds) + 1, "")
        found["frozen_calls"] += sum(row["frozen_calls"] for row in found["noise"])
    if cost := endpoint_costs(run):
        found["cost"] = {"frozen_calls": found["frozen_calls"], **cost}
    files.write_json(folder.headroom, found)
    return found


def _write_model(lm: LanguageModel, target: Path) -> None:
    """Plain Hugging Face layout, or that of a peft adapter, under a name of its own until it is published."""
    partial = _partial(target)
    try:
        if is_adapted(lm.model):
            save_adapter(lm.model, partial)
        else:
            lm.model.save_pretrained(partial)
        lm.tokenizer.save_pretrained(partial)
    except Exception as error:
        raise _not_written(target, error) from None


def _publish(target: Path) -> None:
    """Give a written model its name, whose presence means that the model is whole and was trained as it should be."""
    try:
        _partial(target).rename(target)
    except OSError as error:
        raise _not_written(target, error) from None


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _not_written(target: Path, error: Exception) -> RunFailure:
    return RunFailure(f"{target} could not be written ({error}); free some space and go on with --resume")
