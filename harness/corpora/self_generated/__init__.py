"""Training samples that the pruned student writes itself, screened by running them."""
