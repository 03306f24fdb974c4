"""`alignpro ...`: one file for each group of commands."""

from alignpro.cli.app import main

__all__ = ["main"]
