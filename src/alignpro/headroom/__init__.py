"""How much there is to gain: sampled once, estimated by `alignpro.theory.estimate`, put in words."""
