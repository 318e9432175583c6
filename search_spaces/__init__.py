"""Search spaces: functions of an Optuna trial, or of a trial and the recipe, that return changes.

Parameters are called by the recipe's dotted paths. Spaces add up: `regularisation+layerscale` on the command line,
`combine(regularisation.default, layerscale.default)` in Python. Points that were published stand beside them.
"""
