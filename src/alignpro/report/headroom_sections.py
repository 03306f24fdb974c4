"""The part of the page on the headroom: how much there was to gain, by what, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import replace
from html import escape

from alignpro.evaluate.arms import AlignPro
from alignpro.report import headroom_figures as figures
from alignpro.report.estimate import NOTHING, count, decimals_of, number, spoken
from alignpro.report.headroom_figures import (
    BEST,
    FINE_TUNED,
    FRONTIER,
    GIBBS,
    NO_PROMPTER,
    REFERENCE,
    SHOWN_UNDER_NOISE,
    TRAINED,
    shown_under_noise,
)
from alignpro.report.markup import chip, legend, section, table, tiles
from alignpro.report.palette import Look
from alignpro.report.run_folder import Run
from alignpro.report.verdict import ADVISED, key_figures
from alignpro.results import Estimate, Headroom, Point


def headroom(run: Run) -> str:
    """Advice, the plane of reward against KL, its figures, and what they rest on."""
    found = run.headroom
    if found is None:
        return ""
    body = ""
    if run.begun:  # before that, the top of the page says it
        body = _advice(found) + tiles(key_figures(found))
    parts = (_plane(found), _gap(found), _gibbs(found), _noise(found), _withheld(found), _needs(found))
    body += f'<p class="note">{escape(_method(found, run))}</p>' + "".join(parts)
    was = "was" if found.trained_prompter or run.begun else "is"
    return section("headroom", f"Headroom: how much there {was} to gain", "", body)


def places_arms(run: Run) -> bool:
    """Whether the headroom's plane shows what a plane of the compared arms would show again.

    An estimate made before training has no trained prompter, which the comparison may have.
    """
    found, compared = run.headroom, run.evaluation.arms.get(AlignPro.written) if run.evaluation else None
    if found is None or not found.in_plane:
        return False
    return (
        compared is None
        or not (compared.kl and compared.kl.defined)
        or bool(found.trained_prompter and found.trained_prompter.placed)
    )


def _advice(found: Headroom) -> str:
    advice = found.advice
    if advice is None:
        return ""
    title = ADVISED.get(advice.verdict, "Advice")
    return f'<div class="advice"><b>{escape(title)}</b><p>{escape(advice.text)}</p></div>'


def _method(found: Headroom, run: Run) -> str:
    by = "by the reference prompter"
    if found.trained_prompter:
        by = "(half by the reference, half by the trained prompter)"
    text = (
        f"Estimated from samples alone, on {count(found.prompts)} prompts: {count(found.rewrites)} rewrites of each"
        f" {by} and {count(found.responses)} responses to each different rewrite. Reward:"
        f" {found.reward}. Brackets are 95% intervals, by resampling prompts."
    )
    if not math.isnan(found.frozen_calls):
        text += f" It took {count(found.frozen_calls)} calls of the frozen model."
    if spent := found.cost and found.cost.spent:
        text += f" Endpoints, all of the run so far: {spent}."
    if run.evaluation:
        text += " These prompts and answers need not be those of the comparison, so the same mean may differ a little."
    return text


def _plane(found: Headroom) -> str:
    html = ""
    if found.in_plane:
        side = legend(_entries(found)) + "".join(f"<p>{escape(line)}</p>" for line in _how_to_read(found))
        html = f'<div class="card beside">{figures.plane(found, "headroom")}<div>{side}</div></div>'
    return f"<h3>Reward against KL</h3>{html}{_table(found)}"


def _entries(found: Headroom) -> list[str]:
    """What the marks of the plane stand for."""
    trained, fine_tuned = found.trained_prompter, found.rlhf_optimum
    draws = ", ".join(count(drawn.n) for drawn in found.gibbs if drawn.placed)
    entries = [
        (bool(found.curve), f"{chip(FRONTIER)}, with its 95% band"),
        (bool(found.optimum and found.optimum.placed), f"{chip(BEST)} {_at_kl_coef(found.kl_coef)}"),
        (bool(trained and trained.placed), chip(TRAINED)),
        (bool(draws), chip(replace(GIBBS, label=f"Gibbs, N = {draws}"))),
        (found.reference_prompter.reward.defined, f"{chip(REFERENCE)}, dotted"),
        (found.no_prompter.reward.defined, f"{chip(NO_PROMPTER)}, dashed"),
        (bool(fine_tuned and fine_tuned.reward.defined), f"{chip(FINE_TUNED)}, dashed"),
    ]
    return [entry for there, entry in entries if there]


def _how_to_read(found: Headroom) -> list[str]:
    lines = ["KL is how far a prompter's rewrites left those of the reference. More reward for less KL is better."]
    if found.curve:
        lines.append(
            "The frontier is the most reward that any prompter can have at that KL, up to the noise of the estimate."
            " It begins at the reference; straight lines join the prices of KL that were tried."
        )
        if len(figures.drawn_frontier(found)) < len(found.curve):
            lines[-1] += " It goes on to the right, as the table tells."
    trained = found.trained_prompter
    short = trained.distance if trained and trained.placed and found.optimum else None
    if short and short.defined and not math.isnan(found.kl_coef):
        lines.append(
            f"With a nat of KL priced at {found.kl_coef:g}, all points of the thin sloping line are as good as"
            " the best prompter. The dotted upright from the trained prompter to that line is how far short of it"
            f" training fell (B4): {spoken(short)}."
        )
    return lines


def _table(found: Headroom) -> str:
    """The figures of the plane, and the effective sample size behind each."""
    optimum, trained, tuned = found.optimum, found.trained_prompter, found.rlhf_optimum
    rows = [
        [_named(NO_PROMPTER), spoken(found.no_prompter.reward), NOTHING, NOTHING, NOTHING],
        [
            _named(REFERENCE),
            spoken(found.reference_prompter.reward),
            "0",
            spoken(found.reference_prompter.reward),
            NOTHING,
        ],
    ]
    if trained:
        k3 = _small(f"k3 estimate {number(trained.kl_k3)}", trained.kl_k3)
        rows.append(
            [_named(TRAINED), spoken(trained.reward), spoken(trained.kl) + k3, spoken(trained.objective), NOTHING]
        )
        if trained.frontier_at_kl and trained.frontier_at_kl.reward.defined:
            meaning = "<small>the most that any prompter has there</small>"
            kl = number(trained.kl.value)
            rows.append(
                [
                    f"Frontier at the KL of Align-Pro{meaning}",
                    spoken(trained.frontier_at_kl.reward),
                    kl,
                    NOTHING,
                    NOTHING,
                ]
            )
    if optimum:
        log_z = _small(f"log Z {number(optimum.log_z)}", optimum.log_z)
        name = f"{chip(BEST)}<small>{_at_kl_coef(optimum.kl_coef)}</small>"
        rows.append([name, *_of_point(optimum), spoken(optimum.objective) + log_z, number(optimum.ess)])
    for point in found.curve:
        if not (optimum and optimum.placed and point.kl_coef == optimum.kl_coef):
            name = f"Frontier {_at_kl_coef(point.kl_coef)}"
            rows.append([name, *_of_point(point), NOTHING, number(point.ess)])
    if tuned:
        name = f"{chip(FINE_TUNED)}<small>{_priced('at beta', tuned.beta)}, estimated without fine-tuning</small>"
        kl = number(tuned.kl.value) + _small("of the answers, not of rewrites", tuned.kl.value)
        log_z = number(math.nan) + _small(f"log Z {number(tuned.log_z)}", tuned.log_z)
        rows.append([name, spoken(tuned.reward), kl, log_z, number(tuned.ess)])
    heads = [
        "",
        f"Mean reward: {found.reward}",
        "KL to the reference, nats",
        f"Objective {_at_kl_coef(found.kl_coef)}",
        "Effective samples a prompt",
    ]
    return table(heads, rows)


def _of_point(point: Point) -> tuple[str, str]:
    plain = _small(f"{number(point.reward_uncorrected)} uncorrected for noise", point.reward_uncorrected)
    return spoken(point.reward) + plain, spoken(point.kl)


def _gap(found: Headroom) -> str:
    """What separates prompting from fine-tuning, as an identity (7) and as bounds (11), (B5)."""
    trained = found.trained_prompter
    columns = [(found.d1, found.d1), (found.d2, None), (found.gap, None)]
    if trained:
        columns[1:] = [(found.d2, trained.d2), (found.gap, trained.gap)]
    if not any(one and one.defined for column in columns for one in column) and not found.bounds:
        return ""
    parts = (
        ("D1: fine-tuning's gain over no prompter", "no prompter changes this part"),
        ("D2: no prompter's reward less the prompter's", "below zero where the prompter helps"),
        ("Gap: D1 + D2", "what fine-tuning would gain beyond the prompter"),
    )
    rows = [
        [f"{name}<small>{meaning}</small>", spoken(best, True), *([spoken(other, True)] if trained else [])]
        for (name, meaning), (best, other) in zip(parts, columns, strict=True)
    ]
    heads = ["", f"Best prompter {_at_kl_coef(found.kl_coef)}", *(["Align-Pro"] if trained else [])]
    return f"<h3>What separates prompting from fine-tuning</h3>{table(heads, rows)}{_bounds(found)}"


def _bounds(found: Headroom) -> str:
    bounds = found.bounds
    if bounds is None:
        return ""
    span = number(bounds.span)
    rows = [
        (
            "Fine-tuning",
            bounds.terms.fine_tuning,
            f"The reward's span, {span}, times how far fine-tuning moves the answers: zero if the model is aligned.",
        ),
        (
            "+ Paraphrasing",
            bounds.terms.paraphrasing,
            "The span times how far the reference's rewrites move the answers: zero where it leaves prompts alone.",
        ),
        (
            "− Optimising, as KL",
            bounds.terms.optimising_kl,
            "kl_coef times the best prompter's KL to the reference: what optimising buys back, in part.",
        ),
        (
            "= Bound of the theorem",
            bounds.theorem,
            "The gap of the best prompter is no more than this: Theorem 6.1 of the paper.",
        ),
        (
            "− Optimising, in full",
            bounds.terms.optimising_jeffreys,
            "kl_coef times the Jeffreys divergence: exactly the reward that optimising gains. It takes KL's place.",
        ),
        (
            "= Sharper bound",
            bounds.sharper,
            "The first two terms less that gain: also a bound, and never above the theorem's.",
        ),
    ]
    html = table(
        ["Bounds on the gap of the best prompter", "Reward"],
        [[f"{name}<small>{escape(said)}</small>", spoken(term)] for name, term, said in rows],
    )
    if not bounds.tv_measured:
        html += (
            '<p class="note">How far answers move, a total variation, could not be measured here: the first two terms'
            " are not known better than an upper limit.</p>"
        )
    return html


def _gibbs(found: Headroom) -> str:
    if not found.gibbs:
        return ""
    rows = [
        [
            chip(replace(GIBBS, label=f"Gibbs, N = {count(g.n)}")),
            spoken(g.reward),
            number(g.kl),
            count(g.frozen_calls_per_prompt),
        ]
        for g in found.gibbs
    ]
    text = (
        "The closed form without training: for each prompt the reference prompter writes N rewrites, the frozen model"
        " answers them, and one is drawn by its reward. As N grows this becomes the best prompter."
    )
    heads = ["", "Mean reward", "KL to the reference, nats", "Calls of the frozen model a prompt"]
    return f'<h3>Sampling in place of training</h3><p class="note">{text}</p>{table(heads, rows)}'


def _noise(found: Headroom) -> str:
    if not found.noise:
        return ""
    shown = shown_under_noise(found)
    heads = ["Noise in the frozen model", *(SHOWN_UNDER_NOISE[place].label for place in shown)]
    rows = [[escape(row.noise), *(spoken(row.rewards[place]) for place in shown)] for row in found.noise]
    html = ""
    if shown:
        marks = legend(chip(SHOWN_UNDER_NOISE[place]) for place in shown)
        told = "<p>Each prompter is kept as it is, and the frozen model behind it is disturbed.</p>"
        html = f'<div class="card beside">{figures.noise(found, "noise")}<div>{marks}{told}</div></div>'
    return f"<h3>When the frozen model is noisy</h3>{html}{table(heads, rows)}"


def _withheld(found: Headroom) -> str:
    if not found.withheld:
        return ""
    rows = [
        [
            f"{escape(row.figure)}<small>{escape(row.why)}</small>",
            count(row.needs.rewrites),
            count(row.needs.frozen_calls),
        ]
        for row in found.withheld
    ]
    heads = ["Figure", "Rewrites a prompt needed", "Calls of the frozen model needed"]
    text = "Too few samples stand behind these figures to show them; what they would need is itself an estimate."
    if not math.isnan(found.min_ess):
        text += f" A figure needs {found.min_ess:g} effective samples a prompt."
    return f'<h3>What was withheld</h3><p class="note">{escape(text)}</p>{table(heads, rows)}'


def _needs(found: Headroom) -> str:
    if not found.needs:
        return ""
    rows = [
        [
            escape(row.figure),
            _either_side(row.half_width),
            _either_side(row.target),
            count(row.prompts),
            count(row.frozen_calls),
        ]
        for row in found.needs
    ]
    heads = ["Figure", "Its 95% interval", "To narrow it to", "Prompts", "Calls of the frozen model"]
    return f"<h3>What narrower intervals would take</h3>{table(heads, rows)}"


def _named(look: Look) -> str:
    return f"{chip(look)}<small>{escape(look.meaning)}</small>"


def _either_side(half: float) -> str:
    return f"± {number(half, decimals_of(Estimate(half, 0.0, half)))}"


def _small(text: str, value: float) -> str:
    """`text` in small letters where the `value` it tells is there."""
    return "" if math.isnan(value) else f"<small>{escape(text)}</small>"


def _priced(name: str, value: float) -> str:
    return "" if math.isnan(value) else f"{name} {value:g}"


def _at_kl_coef(value: float) -> str:
    return _priced("at kl_coef", value)
