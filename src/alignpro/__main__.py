"""`python -m alignpro`."""

from alignpro.cli import main

main()
