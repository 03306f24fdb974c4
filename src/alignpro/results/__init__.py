"""What a run's files hold, as types: one writer, and one reader that takes older and damaged files as they are."""

from alignpro.results.base import Result, append_rows, read, read_rows, write
from alignpro.results.comparison import RunDifference, SideBySide
from alignpro.results.estimate import UNKNOWN, Estimate
from alignpro.results.evaluation import (
    Arm,
    Cost,
    Difference,
    Evaluation,
    JudgeCost,
    LengthControlled,
    Mean,
    Sample,
    SecondReward,
    Step,
    WinRate,
)

__all__ = [
    "UNKNOWN",
    "Arm",
    "Cost",
    "Difference",
    "Estimate",
    "Evaluation",
    "JudgeCost",
    "LengthControlled",
    "Mean",
    "Result",
    "RunDifference",
    "Sample",
    "SecondReward",
    "SideBySide",
    "Step",
    "WinRate",
    "append_rows",
    "read",
    "read_rows",
    "write",
]
