"""One run of a study: who trains which cell when, what it may use, and what it used."""
