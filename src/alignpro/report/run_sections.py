"""The section that shows the training."""

from __future__ import annotations

from alignpro.report import training_charts as curves
from alignpro.report.markup import card, fold, grid, section
from alignpro.report.palette import Looks
from alignpro.report.run_folder import Curves, Run

MAIN = {
    "reward": ("Reward", "Mean reward of the step's samples."),
    "kl": ("KL", "How far the trained policy left its reference, in nats a sample."),
    "objective": ("Objective", "What training maximises: the reward less the KL at its price, kl_coef."),
}
DIAGNOSTICS = {
    "approx_kl": "How far the step's updates moved the policy, in nats a token.",
    "clip_share": "Share of tokens at which PPO's clip held the update back.",
    "explained_variance": "Share of the returns' variance that the value head foresees; 1 is all, 0 none.",
    "policy_loss": "PPO's clipped surrogate loss.",
    "value_loss": "Squared error of the value head.",
    "grad_norm": "Length of the gradient before clipping.",
    "learning_rate": "Size of the optimiser's steps.",
    "kl_coef": "The price of KL in the objective.",
    "reward_std": "Standard deviation of the rewards within the step.",
    "action_tokens": "Mean length of what the policy wrote, in tokens.",
    "cut_off": "Share of what the policy wrote that was cut off at the length limit.",
    "failed": "Samples of the step without a reward.",
    "frozen_calls": "Responses asked of the frozen model so far.",
    "seconds": "Seconds of training so far.",
}

TERMS = {
    "reward.": "A term of the reward: mean raw score of the step.",
    "prompt_term.": "A term on the rewrite: mean raw value of the step.",
}


def training(run: Run, looks: Looks) -> str:
    """Training curves of the prompter, and of the RLHF oracle where it was trained."""
    html = _curve_cards(run.training, "train", "align-pro", curves.monitor_means(run.monitor), looks)
    oracle = _curve_cards(run.oracle_training, "rlhf", "rlhf", {}, looks)
    if oracle:
        html += "<h3>Training of the RLHF oracle</h3>"
        html += f'<p class="note">The answering model itself, fine-tuned by the same PPO.</p>{oracle}'
    text = (
        "Pale: every step. Bold: centred mean over a tenth of the steps. These are the samples of training, not the"
        " comparison above."
    )
    return section("training", "Training", text, html) if html else ""


def _curve_cards(columns: Curves, name: str, token: str, points: curves.Points, looks: Looks) -> str:
    def drawn(column: str, title: str, meaning: str) -> str:
        upon = points if column == "reward" else {}
        if upon:
            marks = ", ".join(f"{looks[arm].label} {looks[arm].glyph}" for arm in upon)
            meaning += f" Markers: small evaluations on held-out prompts ({marks})."
        svg = curves.over_steps(columns, column, f"{name}-{column}", token, f"{title} over training steps", upon, looks)
        return card(title, meaning, svg)

    main = [drawn(column, *told) for column, told in MAIN.items() if column in columns]
    more = [drawn(column, column, meaning) for column, meaning in DIAGNOSTICS.items() if column in columns]
    more += [
        drawn(column, column.removeprefix(prefix), meaning)
        for prefix, meaning in TERMS.items()
        for column in columns
        if column.startswith(prefix)
    ]
    return grid(main, "thirds") + fold("Further diagnostics", grid(more, "thirds"))
