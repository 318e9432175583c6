"""What can be known of a study before it is run."""
