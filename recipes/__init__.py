"""Training recipes, one module per paper. Each function returns one complete recipe; its docstring is its record."""
