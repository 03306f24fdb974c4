"""A prompter before any OpenAI-compatible endpoint; a request that it cannot rewrite goes on as it came."""
