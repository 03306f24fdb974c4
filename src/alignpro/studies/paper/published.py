"""What the paper reports (arXiv 2501.03486, section 7), as far as its extracted text holds it.

Table 1 stands there without the headings of its rows and columns; they are taken in the order in which 7.1 introduces
prompters, frozen models and data sets. Figures 2 and 3 have no numbers in the text, so there are none here.
"""

from __future__ import annotations

from collections.abc import Mapping

PROMPTERS: Mapping[str, str] = {"p1": "Phi-3.5-Instruct", "p2": "Qwen-2.5-1.5B-Instruct"}
FROZEN: Mapping[str, str] = {"f1": "Llama-3.1-8B-Instruct", "f2": "Llama-3.1-8B-Instruct"}
"""As named in 7.1, where both are one model; see recipes/paper/_f2.yaml."""
DATA: Mapping[str, str] = {"ultrafeedback": "UltraFeedback", "helpsteer": "HelpSteer", "orca": "Orca"}

_ROWS = (
    ("p1", "f1", ((60, 24), (46, 37), (63, 26))),
    ("p1", "f2", ((65, 23), (67, 23), (63, 30))),
    ("p2", "f1", ((59, 27), (58, 27), (46, 46))),
    ("p2", "f2", ((56, 30), (59, 25), (59, 27))),
)
WINS: Mapping[tuple[str, str, str], tuple[int, int]] = {
    (prompter, frozen, data): pair for prompter, frozen, pairs in _ROWS for data, pair in zip(DATA, pairs, strict=True)
}
"""Table 1: (prompter, frozen model, data set) -> percent won by Align-Pro, percent won by no fine-tuning."""

CLAIMS: Mapping[str, str] = {
    "reward": "Align-Pro's mean reward is above that of no fine-tuning (7.2)",
    "variance": "Align-Pro's variance of the reward is the lowest of the three (7.2)",
    "wins": "Align-Pro wins more often than no fine-tuning (7.2, on average)",
}
"""What the text says of the figures and the table, by the name it has in `results.claims`."""
