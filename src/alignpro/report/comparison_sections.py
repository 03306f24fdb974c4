"""The sections that show the final comparison, each a string of HTML; one with nothing to show is empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from alignpro.report import arm_charts as figures
from alignpro.report import training_charts as curves
from alignpro.report.arm_charts import Row
from alignpro.report.estimate import MINUS, count, percent, spoken
from alignpro.report.markup import bullets, card, chip, grid, legend, section, table, tiles
from alignpro.report.palette import Looks
from alignpro.report.run_folder import Run
from alignpro.report.verdict import BASELINE, Verdict
from alignpro.results import UNKNOWN, Arm, Estimate, Evaluation, WinRate

INTERVAL = "Whiskers are 95% intervals, by resampling prompts."


def summary(run: Run, looks: Looks, verdict: Verdict) -> str:
    """The answer in one screen: verdict, key figures, mean rewards and wins."""
    lead, *more = verdict.lines
    html = f'<h1>{escape(verdict.title)}</h1><p class="lead">{escape(lead)}</p>'
    html += tiles(verdict.figures)
    html += bullets(more)
    if run.notes:
        html += f'<aside class="notes"><h2>Missing or incomplete</h2>{bullets(run.notes)}</aside>'
    cards = _first_cards(run.evaluation, looks) if run.evaluation else []
    return f'<section class="summary">{html}{grid(cards)}</section>'


def _first_cards(evaluation: Evaluation, looks: Looks) -> list[str]:
    baseline = evaluation.arms.get(BASELINE)
    svg = figures.intervals(
        [_arm_row(looks, arm.name, arm.reward) for arm in _in_order(evaluation, looks)],
        "rewards",
        "Mean reward by arm with 95% intervals",
        "mean reward",
        baseline.reward.value if baseline else math.nan,
    )
    dashed = " The dashed line is no prompter." if baseline else ""
    text = f"Mean over prompts of {evaluation.reward}, the reward that was trained on.{dashed} {INTERVAL}"
    cards = [card("Mean reward by arm", text, svg)]
    pairs = [wr for wr in evaluation.win_rates if BASELINE in (wr.a, wr.b)]
    for judge, wins in _by_judge([wr if wr.b == BASELINE else wr.mirrored() for wr in pairs]):
        text = f"Judge: {judge}, {_standing(judge, evaluation)}. Bars: won, tied, lost, in the arms' colours."
        text += " The diamond is the win rate with its 95% interval; 50% is no preference."
        cards.append(card("Win rate over no prompter", text, figures.wins(wins, looks, f"wins-{judge}")))
    return cards


def arms(evaluation: Evaluation, looks: Looks) -> str:
    """What was compared: each arm's meaning and figures."""
    ordered = _in_order(evaluation, looks)
    second = [arm for arm in ordered if arm.second.defined]
    heads = ["Arm", f"Mean reward: {evaluation.reward}"]
    heads += [f"Mean second reward: {evaluation.second_reward}"] if second else []
    heads += ["Variance", "KL to reference, nats"]
    lengths = any(arm.response_words.defined for arm in ordered)
    heads += ["Words of an answer", "Words of a rewrite"] if lengths else []
    heads += ["Frozen-model calls", "Failed"]
    rows = [
        [
            f"{chip(looks[arm.name])}<small>{escape(looks[arm.name].meaning)}</small>",
            spoken(arm.reward),
            *([spoken(arm.second)] if second else []),
            spoken(arm.variance),
            spoken(arm.kl or UNKNOWN),
            *([spoken(arm.response_words), spoken(arm.rewrite_words or UNKNOWN)] if lengths else []),
            count(arm.frozen_calls),
            count(arm.failed),
        ]
        for arm in ordered
    ]
    text = (
        f"Each arm answered the same {count(evaluation.prompts)} held-out prompts,"
        f" {count(evaluation.responses_per_prompt)} times each; a reward is of the original prompt and the answer,"
        " never of the rewrite. Brackets are 95% intervals. Variance is over single answers. Failed answers have no"
        " reward and are left out of the means, not scored 0."
    )
    if math.isfinite(evaluation.training_prompts):
        text += f" Training asked {count(evaluation.training_prompts)} other prompts."
    if math.isfinite(evaluation.cost.frozen_calls):
        took = f", {count(evaluation.cost.seconds)} seconds" if math.isfinite(evaluation.cost.seconds) else ""
        text += f" The comparison took {count(evaluation.cost.frozen_calls)} calls of the frozen model{took}."
    if evaluation.cost.spent:
        text += f" Endpoints, all of the run so far: {evaluation.cost.spent}."
    cards = []
    if second:
        baseline = evaluation.arms.get(BASELINE)
        svg = figures.intervals(
            [_arm_row(looks, arm.name, arm.second) for arm in second],
            "second",
            "Mean second reward by arm with 95% intervals",
            "mean second reward",
            baseline.second.value if baseline else math.nan,
        )
        told = f"The same answers under {evaluation.second_reward}, which was not trained on. {INTERVAL}"
        cards.append(card("Mean second reward by arm", told, svg))
    return section("arms", "What was compared", text, table(heads, rows) + grid(cards))


def terms(evaluation: Evaluation, looks: Looks) -> str:
    """What the reward is made of, and what stands beside it: each arm's mean of every term."""
    ordered = _in_order(evaluation, looks)
    kinds = [
        ("Terms of the reward", "of the original prompt and the answer", [arm.reward_terms for arm in ordered]),
        ("Terms on the rewrite", "of the original prompt and the rewrite", [arm.prompt_terms for arm in ordered]),
    ]
    html = ""
    for title, seen, found in kinds:
        names = list(dict.fromkeys(name for one in found for name in one))
        rows = [
            [chip(looks[arm.name]), *(spoken(one[name].mean if name in one else UNKNOWN) for name in names)]
            for arm, one in zip(ordered, found, strict=True)
        ]
        if names:
            html += f'<h3>{title}</h3><p class="note">Raw means, {seen}, before any normalising, clipping and weight.'
            html += f" Brackets are 95% intervals.</p>{table(['Arm', *names], rows)}"
    text = (
        "Training maximises the weighted sum of both kinds, less the KL at its price. Mean rewards hold only the first."
    )
    return section("terms", "Terms", text, html) if html else ""


def differences(evaluation: Evaluation, looks: Looks) -> str:
    """Paired differences between arms, one figure for each reward."""
    cards = []
    for reward in dict.fromkeys(d.reward for d in evaluation.differences):
        rows = [
            Row(
                f"{looks[d.a].label} {MINUS} {looks[d.b].label}",
                d.mean,
                looks[d.a].token,
                looks[d.a].marker,
                True,
            )
            for d in evaluation.differences
            if d.reward == reward
        ]
        kind = "reward" if reward == evaluation.reward else "second reward"
        label = f"Paired differences in {kind} with 95% intervals"
        svg = figures.intervals(rows, f"differences-{reward}", label, f"difference in {kind}", 0.0)
        text = (
            f"By {reward}, {_standing(reward, evaluation)}. Mean of the first arm less that of the second. {INTERVAL}"
        )
        cards.append(card(f"Difference in {kind}", text, svg))
    text = (
        "All arms answered the same prompts, so differences are taken prompt by prompt, which is sharper than"
        " comparing the intervals of two means by eye. An interval that spans zero shows no difference."
    )
    return section("differences", "Paired differences", text, grid(cards)) if cards else ""


def spread(run: Run, looks: Looks) -> str:
    """How rewards of single answers are distributed, and where their variance comes from."""
    cards = []
    values = {arm: [s.reward for s in run.samples if s.arm == arm and math.isfinite(s.reward)] for arm in looks}
    rewards = {arm: np.array(found) for arm, found in values.items() if found}
    if rewards:
        text = (
            "Each hill is the smoothed distribution of the rewards of single answers (Gaussian kernel, Silverman's"
            " bandwidth). The bar beneath spans the middle half, its marker is the median."
        )
        cards.append(card("Rewards of single answers", text, figures.distributions(rewards, looks, "spread")))
    measured = _in_order(run.evaluation, looks) if run.evaluation else []
    split = [arm for arm in measured if arm.variance_between.defined and arm.variance_within.defined]
    if split:
        text = (
            "Solid: between prompts, some being easier than others. Pale: within a prompt, the luck of sampling a"
            " rewrite and an answer. The figures are those two parts, the whiskers 95% intervals of their sum."
        )
        cards.append(card("Where the variance comes from", text, figures.variances(split, looks, "variance")))
    return section("spread", "Spread of the rewards", "", grid(cards)) if cards else ""


def win_rates(evaluation: Evaluation, looks: Looks) -> str:
    """All win rates in full, and bars for those pairs that the summary does not draw."""
    if not evaluation.win_rates:
        return ""
    heads = [
        "Pair",
        "Judge",
        "Win rate",
        "At equal length",
        "Won / tied / lost",
        "Same in both orders",
        "Unparsed",
        "Length difference",
    ]
    rows = [
        [
            f"{chip(looks[wr.a])} against {chip(looks[wr.b])}",
            f"{escape(wr.judge)}<small>{_standing(wr.judge, evaluation)}</small>",
            percent(wr.rate),
            percent(wr.length_controlled.rate),
            " / ".join(percent(Estimate(share.value)) for share in wr.shares),
            percent(wr.order_consistency),
            count(wr.unparsed),
            spoken(wr.length_difference, signed=True),
        ]
        for wr in evaluation.win_rates
    ]
    others = _by_judge([wr for wr in evaluation.win_rates if BASELINE not in (wr.a, wr.b)])
    cards = [
        card(
            "Win rate between other arms",
            f"Judge: {judge}. Bars: won, tied, lost, in the arms' colours; the diamond is the win rate.",
            figures.wins(wins, looks, f"others-{judge}"),
        )
        for judge, wins in others
    ]
    text = (
        "Win rate: share of comparisons of two answers to one prompt that go to the first arm, a tie counting half."
        " Each is judged in both orders; verdicts that differ make a tie, and the share that agrees stands under Same"
        " in both orders. At equal length: the win rate that a logistic model of the verdict on the difference in"
        " length gives where there is none. Unparsed: comparisons whose verdict could not be read, left out. Length"
        " difference: words by which the first arm's answers are longer, on average."
    )
    return section("wins", "Win rates", text, grid(cards) + table(heads, rows))


def reward_kl(evaluation: Evaluation, looks: Looks) -> str:
    """The plane of reward against KL, for arms that no estimate of the headroom places in it."""
    placed = curves.placed_on_kl(evaluation)
    if not placed:
        return ""
    entries = [chip(looks[arm.name]) for arm, _ in placed]
    levels = curves.level_lines(evaluation)
    entries += [f"{chip(looks[arm.name])} (dashed: no prompter, hence no place on this axis)" for arm in levels]
    text = (
        "KL: how far a prompter's rewrites left those of the reference. More reward for less KL is better: up and left."
    )
    body = f'<div class="card beside">{curves.plane(evaluation, looks, "plane")}{legend(entries)}</div>'
    return section("kl", "Reward against KL", text, body)


def _standing(judge: str, evaluation: Evaluation) -> str:
    if judge == evaluation.reward:
        return "the reward that was trained on: not impartial"
    return "not trained on"


def _arm_row(looks: Looks, arm: str, estimate: Estimate) -> Row:
    return Row(looks[arm].label, estimate, looks[arm].token, looks[arm].marker)


def _in_order(evaluation: Evaluation, looks: Looks) -> list[Arm]:
    order = list(looks)
    return sorted(evaluation.arms.values(), key=lambda arm: order.index(arm.name))


def _by_judge(found: Sequence[WinRate]) -> list[tuple[str, list[WinRate]]]:
    return [(judge, [wr for wr in found if wr.judge == judge]) for judge in dict.fromkeys(wr.judge for wr in found)]
