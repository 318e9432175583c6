"""Learning finer than the labels (thesis chapter 2): losses, the memory of the kNN loss, and evaluation."""
