"""Where cells are trained: on one worker, in a Ray Train job, on a cluster."""
