"""Plain advice from the figures: train, sample instead, or neither."""

from __future__ import annotations

from typing import Any

ENOUGH = 0.8
"""Share of the optimum's gain from which a cheaper way counts as good enough."""

SMALL = 0.1
"""Share of the rewards' span that a gain must surely stay below to count as nothing."""

ROUNDING = 1e-9
"""Share of the reward itself that no gain is told from: sums of equal rewards differ in their last digits."""

OUT_OF_REACH = 1000
"""Times the answers asked so far past which asking for more is no advice."""

Tree = dict[str, Any]


def advice(parts: Tree) -> Tree:
    """{"verdict", "text"} from what `headroom.json` holds: train, sample, neither, or unsure; of a trained prompter
    keep or more.

    The gain in question is over no prompter, at the run's kl_coef, or at the lowest price of the frontier that could be
    estimated where that one was withheld.
    """
    point = parts["optimum"] or (parts["frontier"][-1] if parts["frontier"] else None)
    if point is None:
        return _say("unsure", f"No point of the frontier could be estimated. {_more(parts)}")
    gain = point["gain"]["value"]
    low, high = point["gain"]["ci95"]
    rounding = ROUNDING * abs(point["reward"])
    where = f"at kl_coef {point['kl_coef']:g}"
    found = (
        f"The best prompter {where} would gain {gain:.2f} [{low:.2f}, {high:.2f}] in reward over no prompter, for"
        f" {point['kl']:.1f} nats of KL"
    )
    ceiling = _fine_tuning(parts)
    if not low > rounding:
        little = high <= max(rounding, SMALL * parts["bounds"]["span"])
        hopeful = [p for p in (*parts["frontier"], *parts["gibbs"]) if p["gain"]["ci95"][0] > rounding]
        if not little or hopeful or parts["optimum"] is None:
            return _say("unsure", f"{found}, which may be nothing. {_more(parts)}")
        return _say(
            "neither",
            f"{found}: next to nothing. Whatever the reference prompter makes of a request, the frozen model answers no"
            f" better{ceiling}. Neither training a prompter nor sampling will help at this price of KL; look at the"
            " frozen model, the reward, or the reference.",
        )
    if parts["trained_prompter"]:
        return _trained(parts, found, ceiling)
    cheap = next((g for g in parts["gibbs"] if (g["share_of_reward_gain"] or {}).get("value", 0) >= ENOUGH), None)
    if cheap:
        return _say(
            "sample",
            f"{found}. gibbs_{cheap['n']} gets {_share(cheap['share_of_reward_gain'])} of it without training, for"
            f" {cheap['frozen_calls_per_prompt']} more answers of the frozen model a prompt{ceiling}. Sample; train"
            " where those answers cost too much.",
        )
    best = max(parts["gibbs"], key=lambda g: g["reward"], default=None)
    beside = (
        f"; gibbs_{best['n']} gets {_share(best['share_of_reward_gain'])} of it without training, for"
        f" {best['frozen_calls_per_prompt']} more answers a prompt"
        if best and best["share_of_reward_gain"]
        else ""
    )
    return _say("train", f"{found}{beside}{ceiling}. Train.")


def _trained(parts: Tree, found: str, ceiling: str) -> Tree:
    share = parts["trained_prompter"]["share_of_gain"]
    if share is None:
        return _say(
            "unsure", f"{found}{ceiling}. The trained prompter's share of it could not be estimated. {_more(parts)}"
        )
    reached = f"the trained prompter has {_share(share)} of the objective's possible gain over the reference"
    if share["value"] >= ENOUGH:
        return _say("keep", f"{found}; {reached}{ceiling}. Keep it; more reward costs more KL, at a lower kl_coef.")
    return _say("more", f"{found}; {reached}{ceiling}. Longer training, or more prompts to train on, may get the rest.")


def _fine_tuning(parts: Tree) -> str:
    d1 = parts["d1"]
    if d1 is None:
        return ""
    low, high = d1["ci95"]
    return f"; fine-tuning it would gain {d1['value']:.2f} [{low:.2f}, {high:.2f}]"


def _share(share: Tree) -> str:
    low, high = share["ci95"]
    return f"{share['value']:.0%} [{low:.0%}, {high:.0%}]"


def _more(parts: Tree) -> str:
    missing = [row for row in parts["withheld"] if row["figure"].startswith("frontier")]
    if missing and parts["optimum"] is None:
        own = f"frontier at kl_coef {parts['kl_coef']:g}"
        needs = next((row for row in missing if row["figure"] == own), missing[0])["needs"]
        if (needs["frozen_calls"] or 0) > OUT_OF_REACH * parts["frozen_calls"]:
            return (
                f"At kl_coef {parts['kl_coef']:g} the rewards are too steep for samples to say; raise train.kl.coef, or"
                " scale the reward down."
            )
        return (
            f"Give --headroom.rewrites={needs['rewrites']} --headroom.responses={needs['responses']}"
            f" ({needs['frozen_calls']:,} answers of the frozen model)."
        )
    return f"Four times as many prompts ({4 * parts['frozen_calls']:,} answers) would halve the interval."


def _say(verdict: str, text: str) -> Tree:
    return {"verdict": verdict, "text": text}
