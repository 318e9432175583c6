"""Studies: sets of cells under one budget, and what is missing of them."""
