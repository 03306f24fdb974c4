"""Models behind OpenAI-compatible URLs."""
