"""Everything that compares two answers: judges, verdicts, win rates, agreement with people."""
