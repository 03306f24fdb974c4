"""The lab: a small world with a known gold utility and three tiny models, offline, made from one seed."""

from alignpro.lab.gold import gold_utility

__all__ = ["gold_utility"]
