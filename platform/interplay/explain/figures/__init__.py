"""Drawing what the functions of `interplay.explain` found; only importer of matplotlib in this package."""
