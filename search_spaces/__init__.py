"""Search spaces: pure functions of an Optuna trial that return changes (dotted recipe path -> value)."""
