"""Packaged recipes, one YAML file each; `alignpro recipes` lists them."""
