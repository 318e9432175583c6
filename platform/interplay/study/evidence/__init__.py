"""What numbers are worth: pairs, intervals, corrections, power and audits."""
