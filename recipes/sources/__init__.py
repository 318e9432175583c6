"""Where the values of the thesis's recipes come from: its procedures, and what each of our recipes follows.

A package and not a module, so that nothing in it is taken for a recipe.
"""

from recipes.sources.facts import NOT_BUILT, Conflict, Procedure, procedures
from recipes.sources.stated import Origin, origin_of, stated
from recipes.sources.why import Sources, sources_of

__all__ = [
    "NOT_BUILT",
    "Conflict",
    "Origin",
    "Procedure",
    "Sources",
    "origin_of",
    "procedures",
    "sources_of",
    "stated",
]
