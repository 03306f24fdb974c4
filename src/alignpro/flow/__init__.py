"""x -> x' -> y -> r, the one flow, and the prompters that need no training."""
