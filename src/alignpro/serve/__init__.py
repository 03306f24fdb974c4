"""A prompter before any OpenAI-compatible endpoint, that hands a request on as it came wherever it cannot rewrite it."""
