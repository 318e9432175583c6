"""The thesis's tables as they are printed, and how they become ablations that run.

A package and not a module, so that nothing in it is taken for an ablation.
"""

from search_spaces.ablations.sources.build import ablation, fine_tuned
from search_spaces.ablations.sources.facts import Line, Table, tables

__all__ = ["Line", "Table", "ablation", "fine_tuned", "tables"]
