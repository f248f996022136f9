"""Quantisation that hides in a float dtype: values on a lattice or in a small codebook."""
