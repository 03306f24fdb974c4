"""Plain advice from the figures: one template for all, train, sample instead, or neither."""

from __future__ import annotations

import math

from alignpro.maths.stats import ALIKE
from alignpro.results import Advice, Estimate, GibbsPoint, Headroom, Templates
from alignpro.results.words import MINUS, percent, told

ENOUGH = 0.8
"""Share of the optimum's gain from which a cheaper way counts as good enough."""

SMALL = 0.1
"""Share of the rewards' span that a gain must surely stay below to count as nothing."""

ROUNDING = 1e-9
"""Share of the reward itself that no gain is told from: sums of equal rewards differ in their last digits."""

OUT_OF_REACH = 16
"""Times the answers asked so far past which asking for more is no advice."""

SHOWN = 2.8
"""Standard errors that a gain must have to lie wholly above 0 in four trials of five: those of 95%, and 0.84."""


def advice(estimated: Headroom) -> Advice:
    """Fix one template, train, sample, neither, or unsure; of a trained prompter keep or more; and why.

    Where templates were tried and nothing is trained, fix comes first.
    The gain in question is over no prompter, at the run's kl_coef; where samples cannot tell that, the gain of gibbs_N
    is a floor under it.
    """
    if estimated.templates and not estimated.trained_prompter and _one_is_enough(estimated.templates):
        return _say("fix", _fix(estimated, estimated.templates))
    found = _without_templates(estimated)
    if estimated.templates and estimated.templates.gain.defined:
        found.text += f" {_beside(estimated.templates)}"
    return found


def _without_templates(estimated: Headroom) -> Advice:
    point = estimated.optimum or (estimated.frontier[-1] if estimated.frontier else None)
    sampled = [gibbs for gibbs in estimated.gibbs if gibbs.gain.defined]
    if not estimated.optimum and not estimated.trained_prompter and sampled:
        return _from_below(estimated, sampled[-1])
    if point is None:
        return _say("unsure", f"No point of the frontier could be estimated. {_more(estimated)}")
    gain = point.gain
    rounding = ROUNDING * abs(point.reward.value)
    said = (
        f"The best prompter at kl_coef {point.kl_coef:g} would gain {told(gain)} in reward over no prompter, for"
        f" {round(point.kl.value, 1) + 0.0:.1f} nats of KL"
    )
    ceiling = f"; fine-tuning it would gain {told(estimated.d1)}" if estimated.d1 else ""
    if not gain.lo > rounding:
        most = gain.value if gain.why == ALIKE else gain.hi
        little = estimated.bounds is not None and most <= max(rounding, SMALL * estimated.bounds.span)
        hopeful = [gain for gain in _gains(estimated) if gain.lo > rounding]
        if not little or hopeful or estimated.optimum is None:
            return _say("unsure", f"{said}, which may be nothing. {_more(estimated)}")
        return _say(
            "neither",
            f"{said}: next to nothing. Whatever the reference prompter makes of a request, the frozen model answers no"
            f" better{ceiling}. Neither training a prompter nor sampling will help at this price of KL; look at the"
            " frozen model, the reward, or the reference.",
        )
    if estimated.trained_prompter:
        return _trained(estimated, estimated.trained_prompter.share_of_gain, said, ceiling)
    shares = [(drawn, drawn.share_of_reward_gain) for drawn in estimated.gibbs]
    cheap = next(((drawn, share) for drawn, share in shares if share and share.value >= ENOUGH), None)
    if cheap:
        drawn, share = cheap
        return _say(
            "sample",
            f"{said}. gibbs_{drawn.n} gets {_share(share)} of it without training, for"
            f" {drawn.frozen_calls_per_prompt} more answers of the frozen model a prompt{ceiling}. Sample; train"
            " where those answers cost too much.",
        )
    best = max(estimated.gibbs, key=lambda drawn: drawn.reward.value, default=None)
    beside = (
        f"; gibbs_{best.n} gets {_share(best.share_of_reward_gain)} of it without training, for"
        f" {best.frozen_calls_per_prompt} more answers a prompt"
        if best and best.share_of_reward_gain
        else ""
    )
    return _say("train", f"{said}{beside}{ceiling}. Train.")


def _from_below(estimated: Headroom, drawn: GibbsPoint) -> Advice:
    """Where the optimum is withheld: the best prompter's objective is no less than that of `drawn`, gibbs_N."""
    gain, price = drawn.gain, estimated.kl_coef * drawn.kl
    said = (
        f"These samples cannot tell what the best prompter at kl_coef {estimated.kl_coef:g} would gain."
        f" {_tellable(estimated)} gibbs_{drawn.n} gains {told(gain)} over no prompter, and the best prompter at least"
        f" that less {price:.2g}"
    )
    if gain.lo - price > ROUNDING * abs(drawn.reward.value):
        return _say(
            "sample",
            f"{said}. Sample, for {drawn.frozen_calls_per_prompt} more answers of the frozen model a prompt; train"
            " where those cost too much, or for more.",
        )
    return _say("unsure", f"{said}, which may be nothing. {_to_show(estimated, gain, price)}")


def _tellable(estimated: Headroom) -> str:
    """From which price on the frontier could be estimated, and what is there."""
    if not estimated.frontier:
        return "The rewards are too steep for them at any price near it: raise train.kl.coef, or scale the reward down."
    point = estimated.frontier[-1]
    return (
        f"They can from kl_coef {point.kl_coef:g} on, where it would gain {told(point.gain)} for"
        f" {round(point.kl.value, 1) + 0.0:.1f} nats of KL."
    )


def _to_show(estimated: Headroom, gain: Estimate, price: float) -> str:
    """What it takes to show a gain as large as the one seen; where that is out of reach, what could be shown now."""
    error = (gain.hi - gain.lo) / 4
    seen = gain.value - price
    if not error > 0:
        return f"It has no interval: {gain.why}."
    times = (SHOWN * error / seen) ** 2 if seen > 0 else math.inf
    if times > OUT_OF_REACH:
        return (
            f"{estimated.prompts:g} prompts show a gain of {SHOWN * error + price:.2g} in four trials of five; four"
            f" times as many ({4 * estimated.frozen_calls:,} answers), one of {SHOWN * error / 2 + price:.2g}."
        )
    prompts = math.ceil(times * estimated.prompts)
    answers = math.ceil(prompts * estimated.frozen_calls / estimated.prompts)
    return f"--headroom.prompts={prompts} ({answers:,} answers) would show a gain of that size in four trials of five."


def _one_is_enough(found: Templates) -> bool:
    return found.gain.lo > 0 and found.surplus.lo > 0


def _fix(estimated: Headroom, found: Templates) -> str:
    if found.beside_frontier and estimated.optimum:
        most = f"what the best prompter at kl_coef {estimated.kl_coef:g} would gain, {told(estimated.optimum.gain)}"
    else:
        most = f"all that choosing a template for each prompt could, at most {found.added_at_most:.3g} more"
    return (
        f"One template around every prompt gains {told(found.gain)} in reward over the bare prompt, surely more than"
        f" {ENOUGH:.0%} of {most}. Fix it, and train nothing: {found.best_called} of {found.listed},"
        f" {found.best_text!r}."
    )


def _beside(found: Templates) -> str:
    low, high = found.bracket
    more = "" if math.isnan(high) else f"; choosing one for each prompt could add up to {high:.3g}"
    sure = f", and surely {low:.3g}" if more and low > 0 else ""
    seen = f"; by its length and words {told(found.learned)} of that can be learned" if found.learned.lo > 0 else ""
    return f"The best of {len(found.framed)} templates gains {told(found.gain)}{more}{sure}{seen}."


def _gains(estimated: Headroom) -> list[Estimate]:
    return [*(point.gain for point in estimated.frontier), *(drawn.gain for drawn in estimated.gibbs)]


def _trained(estimated: Headroom, share: Estimate | None, said: str, ceiling: str) -> Advice:
    if share is None:
        return _say(
            "unsure", f"{said}{ceiling}. The trained prompter's share of it could not be estimated. {_more(estimated)}"
        )
    reached = f"the trained prompter has {_share(share)} of the objective's possible gain over the reference"
    if share.value >= ENOUGH:
        return _say("keep", f"{said}; {reached}{ceiling}. Keep it; more reward costs more KL, at a lower kl_coef.")
    return _say("more", f"{said}; {reached}{ceiling}. Longer training, or more prompts to train on, may get the rest.")


def _share(share: Estimate) -> str:
    return percent(share).replace(MINUS, "-")


def _more(estimated: Headroom) -> str:
    missing = [row for row in estimated.withheld if row.figure.startswith("frontier")]
    if missing and estimated.optimum is None:
        own = f"frontier at kl_coef {estimated.kl_coef:g}"
        needs = next((row for row in missing if row.figure == own), missing[0]).needs
        if not needs.frozen_calls <= OUT_OF_REACH * estimated.frozen_calls:
            return _tellable(estimated)
        return (
            f"Give --headroom.rewrites={needs.rewrites} --headroom.responses={needs.responses}"
            f" ({needs.frozen_calls:,} answers of the frozen model)."
        )
    return f"Four times as many prompts ({4 * estimated.frozen_calls:,} answers) would halve the interval."


def _say(verdict: str, text: str) -> Advice:
    return Advice(verdict=verdict, text=text)
