"""How to take what a reward or a judge says: whether it had a part in making what it judges."""

from __future__ import annotations

from dataclasses import dataclass

from alignpro.evaluate.arms import AlignPro, BestTemplate, ChainPass, Gibbs, Rlhf, known
from alignpro.results import Evaluation


@dataclass(frozen=True, slots=True)
class Part:
    """What the run's reward did, behind "which"; and behind it or by itself, what another did not."""

    did: str
    did_not: str
    briefly: str
    partial: bool = True

    def of(self, judge: str, evaluation: Evaluation) -> str:
        """How to take what `judge` says."""
        if judge != evaluation.reward:
            return self.briefly
        return f"the reward that {self.did}{': not impartial' if self.partial else ''}"


TRAINED = Part("was trained on", "was not trained on", "not trained on")
CHOSE = Part("chose among candidates", "did not choose among candidates", "without a part in the choice")
MEASURED = Part("was given", "was given besides", "given besides", partial=False)


def part_of_reward(evaluation: Evaluation) -> Part:
    """What the run's reward did to the arms that were compared."""
    arms = [known(name) for name in evaluation.arms]
    if any(isinstance(arm, (AlignPro, ChainPass, Rlhf)) for arm in arms):
        return TRAINED
    return CHOSE if any(isinstance(arm, (BestTemplate, Gibbs)) for arm in arms) else MEASURED


def standing(judge: str, evaluation: Evaluation) -> str:
    """How to take what a reward or a judge says."""
    return part_of_reward(evaluation).of(judge, evaluation)
