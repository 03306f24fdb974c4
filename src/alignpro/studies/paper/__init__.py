"""The paper's experiments: the grid of section 7, its Table 1, and its Figures 2 and 3."""
