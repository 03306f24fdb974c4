"""Results as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from alignpro.config.listing import told as setting_told
from alignpro.evaluate.arms import NoPrompter
from alignpro.results import (
    BestOfN,
    Estimate,
    Evaluation,
    FittedPrompter,
    FramedPairs,
    Headroom,
    JudgeAgreement,
    LearnedReward,
    Mean,
    Methods,
    Reward,
    SideBySide,
    Templates,
)
from alignpro.results.words import percent, told
from alignpro.runtime.terminal import printable

MOST_TEMPLATES = 20
"""Templates of a long list that its table shows; the file has all."""


def arms(summary: Evaluation) -> None:
    """The arms of evaluation.json."""
    second = summary.second_reward
    judged = [row for row in summary.win_rates if row.b == NoPrompter.written]
    by_wins = {row.a: row.rate for row in judged if row.accuracy is None}
    over = by_wins or {row.a: row.accuracy for row in judged if row.accuracy}
    columns = ["arm", summary.heading(summary.reward), "variance", "KL to reference"]
    columns += [summary.heading(second)] if second else []
    rows = []
    for name, arm in summary.arms.items():
        cells = [name, told(arm.reward), told(arm.variance), told(arm.kl)]
        cells += [told(arm.second)] if second else []
        cells.append(told(over.get(name)))
        rows.append(cells)
    title = f"{summary.prompts} test prompts, {summary.responses_per_prompt} answers each"
    table(title, [*columns, "win rate over no_prompter" if by_wins or not over else "accuracy over no_prompter"], rows)
    if templates := {name: arm.template for name, arm in summary.arms.items() if arm.template}:
        table("templates, around every prompt", ["arm", "text"], list(templates.items()))
    if guarded := {name: arm for name, arm in summary.arms.items() if arm.rejected}:
        rows = [[name, told(arm.rejected), _counts(arm.rejected_by)] for name, arm in guarded.items()]
        table("rejected by guards", ["arm", "share of its rewrites", "by which, and how many"], rows)
    if groups := summary.groups:
        by_value = {(row.group, row.arm): row for row in groups}
        values = {row.group: f"{row.group} ({row.prompts:,} prompts)" for row in groups}
        lines = [
            [called, *(told(by_value[value, arm].reward) for arm in summary.arms)] for value, called in values.items()
        ]
        table(f"by {groups[0].by}", ["", *summary.arms], lines)
    _terms("terms of the reward, raw", {name: arm.reward_terms for name, arm in summary.arms.items()})
    _terms("terms on the rewrite, raw", {name: arm.prompt_terms for name, arm in summary.arms.items()})


def travelled(before: Evaluation, there: Evaluation) -> None:
    """Gains over no prompter of the arms that both have, where the prompter was trained and where it was taken."""
    none = NoPrompter.written
    both = [name for name in there.arms if name in before.arms and name != none]
    if none in there.arms and none in before.arms and both:
        rows = [[name, *(told(one.difference(name, none, one.reward)) for one in (before, there))] for name in both]
        table("gain over no prompter: does it travel?", ["arm", "in the run", "here"], rows)


def _counts(counts: Mapping[str, float]) -> str:
    """Names with counts, the largest first."""
    return ", ".join(f"{name} {count:,.0f}" for name, count in sorted(counts.items(), key=lambda one: -one[1])) or "-"


def _terms(title: str, by_arm: Mapping[str, Mapping[str, Mean]]) -> None:
    """Mean of each term, of arms that have them."""
    found = {arm: terms for arm, terms in by_arm.items() if terms}
    if found:
        names = list(next(iter(found.values())))
        table(title, ["arm", *names], [[arm, *(told(terms[n].mean) for n in names)] for arm, terms in found.items()])


def win_rates(summary: Evaluation, judge: str) -> None:
    """The win rates of evaluation.json by one judge, or the differences in accuracy of one that scores 0 or 1."""
    judged = [row for row in summary.win_rates if row.judge == judge]
    rows = []
    for row in judged:
        counts = f"{row.win} / {row.tie} / {row.loss}"
        at_equal_length = row.length_controlled.withheld or told(row.length_controlled.rate)
        rates = [told(row.rate), at_equal_length, counts, percent(row.order_consistency)]
        shown = rates if row.accuracy is None else [told(row.accuracy), counts]
        rows.append([f"{row.a} against {row.b}", *shown, str(row.unparsed)])
    columns = ["win rate", "at equal length", "won / tied / lost", "same in both orders"]
    if judged and judged[0].accuracy:
        columns = ["difference in accuracy", "only first right / tied / only second right"]
    table(f"judged by {judge}", ["pair", *columns, "no verdict"], rows)


def agreement(found: JudgeAgreement) -> None:
    """A judge's agreement with people, and theirs with each other."""
    measures = {
        "judge with the majority": found.with_majority,
        "the same, where neither sees a tie": found.with_majority_where_neither_ties,
        "judge with one person": found.with_one_person,
        "one person with another": found.people,
    }
    rows = [[name, told(row.agreement), told(row.kappa), f"{row.compared:,}"] for name, row in measures.items()]
    title = f"{found.judge} on {found.pairs} pairs of {found.prompts} prompts, {found.annotators} people each"
    table(title, ["", "agreement", "Cohen's kappa", "verdicts compared"], rows)


def headroom(found: Headroom) -> None:
    """The prompters, the frontier and the bounds of headroom.json."""
    rows = [["no prompter", *_reward(found.no_prompter)], ["reference prompter", *_reward(found.reference_prompter)]]
    if trained := found.trained_prompter:
        rows.append(["trained prompter", *_reward(trained, trained.kl.value)])
    rows += [
        [f"gibbs_{g.n}, {g.frozen_calls_per_prompt} more answers a prompt", *_reward(g, g.kl)] for g in found.gibbs
    ]
    rows += [[f"optimum at kl_coef {p.kl_coef:g}", *_reward(p, p.kl.value, p.ess)] for p in found.frontier]
    if tuned := found.rlhf_optimum:
        rows.append([f"RLHF optimum at beta {found.beta:g}", *_reward(tuned, tuned.kl.value, tuned.ess)])
    rows += [[row.figure, f"withheld: {row.why}", "-", "-"] for row in found.withheld]
    title = f"{found.prompts} prompts, {found.rewrites} rewrites each, {found.responses} responses to each"
    name = f"{found.mean.removeprefix('mean ')} ({found.reward})"
    table(title, ["", name, "KL, nats", "effective sample size"], rows)
    sampled = {"no prompter": found.no_prompter, "reference prompter": found.reference_prompter}
    sampled |= {"trained prompter": trained} if trained else {}
    _terms("terms of the reward, raw", {name: one.reward_terms for name, one in sampled.items()})
    parts = {"D1, gain of fine-tuning": found.d1, "D2, less the best prompter's gain": found.d2}
    parts["gap to RLHF"] = found.gap
    if found.bounds:
        parts |= {"bound on it, (11)": found.bounds.theorem, "sharper bound, (B5)": found.bounds.sharper}
    if lines := [[name, told(part)] for name, part in parts.items() if part]:
        table("of the optimal prompter", ["", "reward"], lines)
    if found.templates:
        _templates(found.templates)
    if found.noise:
        names = ("no_prompter", "reference_prompter", "optimum", "trained_prompter")
        shown = [place for place, reward in enumerate(found.noise[0].rewards) if reward]
        lines = [[row.noise, *(told(row.rewards[place]) for place in shown)] for row in found.noise]
        table("with noise in the frozen model", ["noise", *(names[place] for place in shown)], lines)


def _templates(found: Templates) -> None:
    """The templates from the best on, what they differ by, and what choosing per prompt could add."""
    best = found.framed[:MOST_TEMPLATES]
    rows = [[row.called, shortened(row.text, 60), told(row.reward), told(row.gain)] for row in best]
    shown = "" if len(best) == len(found.framed) else f", the best {len(best)}"
    title = f"{len(found.framed)} templates of {found.listed}, {found.prompts} prompts, {found.per_cell} answers each"
    table(title + shown, ["", "template", "reward", "gain over no template"], rows)
    lines = [
        [f"best single template, {found.best_called}: gain on prompts that did not choose it", told(found.gain)],
        *([f"chosen per prompt on {row.chosen_on}, more than that", told(row.gain)] for row in found.chosen_per_prompt),
        ["chosen by a prompt's length and words, more than that", told(found.learned)],
        ["chosen per prompt, at most more", f"{found.added_at_most:.4g}"],
        ["variance of template", told(found.variance_of_template)],
        ["variance of prompt x template", told(found.variance_of_interaction)],
        ["variance of noise", told(found.variance_of_noise)],
    ]
    table("one template for all, or one for each", ["", "reward"], lines)


def _reward(part: Reward, *more: float) -> list[str]:
    others = [f"{value:.2f}" for value in more]
    return [told(part.reward), *others, *["-"] * (2 - len(others))]


def methods(found: Methods) -> None:
    """The methods of methods.json, over seeds."""
    rows = [
        [
            row.method,
            f"{row.training_calls:,.0f}",
            f"{row.calls_per_prompt:g}",
            *(told(one.mean) for one in (row.reward, row.kl, row.objective)),
            "-" if row.seconds is None else f"{row.seconds:.0f}",
        ]
        for row in found.methods
    ]
    columns = ["method", "answers for training", "answers a prompt", "reward", "KL, nats", "objective", "seconds"]
    table(f"{found.seeds} seeds, kl_coef {found.kl_coef:g}, {found.prompts} test prompts", columns, rows)


def side_by_side(found: SideBySide) -> None:
    """Finished runs: their arms, the settings in which they differ, and how their arms differ from the first run's."""
    runs, second = found.runs, any(run.second_reward for run in found.runs.values())
    rows = []
    for arm in dict.fromkeys(arm for run in runs.values() for arm in run.arms):
        for name, run in ((name, run) for name, run in runs.items() if arm in run.arms):
            one, wins = run.arms[arm], run.wins_over(arm, "no_prompter")
            cells = [arm, name, told(one.reward), told(one.variance), told(one.kl)]
            cells += [told(one.second)] if second else []
            won = "-"
            if wins:
                won = f"{told(wins[0].accuracy)} accuracy" if wins[0].accuracy else told(wins[0].rate)
            rows.append([*cells, won, f"{one.frozen_calls:,}"])
    columns = ["arm", "run", found.mean, "variance", "KL to reference", *(["second reward"] if second else [])]
    title = "; ".join(
        f"{name}: {run.reward} on {run.prompts} test prompts, {run.responses_per_prompt} answers each"
        for name, run in runs.items()
    )
    table(title, [*columns, "win rate over no_prompter", "answers"], rows)
    if found.settings:
        lines = [
            [key, *(shortened(setting_told(held[name]), 40) for name in runs)] for key, held in found.settings.items()
        ]
        table("settings in which they differ", ["setting", *runs], lines)
    if found.differences:
        over = {True: "prompts that both have, paired", False: "prompts, none in common: not paired"}
        lines = [
            [row.arm, f"{row.b} - {row.a}", row.reward, told(row.mean), f"{row.prompts} {over[row.paired]}"]
            for row in found.differences
        ]
        table(f"differences in {found.mean}", ["arm", "runs", "reward", "difference", "over"], lines)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output, as wide as it needs where there is no terminal."""
    made = Table(*map(printable, columns), title=printable(title))
    for row in rows:
        made.add_row(*map(printable, row))
    Console(width=None if sys.stdout.isatty() else 150, markup=False, emoji=False).print(made)


def reward(found: LearnedReward) -> None:
    """What reward.json says, and the learning curve."""
    parts = {
        "held-out accuracy": found.accuracy,
        "accuracy of \u201cthe longer wins\u201d": found.longer_wins,
        "  more than that": found.over_longer,
        "log loss, nats": found.log_loss,
        "calibration error": found.calibration.error.error,
        "likeliest temperature": found.calibration.temperature,
        "correlation of score and length": found.length.score,
        **{f"accuracy, margin {row.low:g} to {row.high:g}": row.accuracy for row in found.by_strength},
        **{f"accuracy after {row.pairs:,} pairs": row.accuracy for row in found.learning_curve},
    }
    _fit(f"{found.pairs.test} held-out pairs of {found.prompts.test} prompts", "95% interval over prompts", parts)


def sft(found: FittedPrompter) -> None:
    """What sft.json says."""
    parts = {
        "loss a token, nats": found.loss_per_token,
        "before": found.loss_before,
        "gain": found.gain,
        "perplexity": found.perplexity,
    }
    title = f"{found.pairs.test} held-out pairs; epoch {found.kept_epoch} of {len(found.epochs)} kept"
    _fit(title, "95% interval over prompts", parts)


def pairs(found: BestOfN | FramedPairs) -> None:
    """How many pairs were kept, and what they gain."""
    if isinstance(found, FramedPairs):
        rows = [[row.text, f"{row.pairs:,}", told(row.gain)] for row in found.templates if row.pairs]
        return table(f"{found.pairs} pairs of prompts in templates", ["template", "pairs", "gain over bare"], rows)
    parts = {
        f"{found.won} winners, by the answers that chose them": found.winners.chosen_gain,
        f"{found.won} winners, by other answers": found.winners.gain,
        f"{found.kept} kept, by answers that decided nothing": found.kept_pairs.gain,
    }
    title = f"best of {found.candidates}: {found.tried} prompts tried, {found.kept} pairs kept"
    _fit(title, "gain in reward over the prompt itself, 95% interval", parts)


def _fit(title: str, head: str, parts: Mapping[str, Estimate]) -> None:
    table(title, ["", head], [[name, told(part)] for name, part in parts.items()])


def shortened(text: str, length: int) -> str:
    """A text of `length` characters at most, the last of them dots where some is left out."""
    return text if len(text) <= length else f"{text[: length - 3]}..."
