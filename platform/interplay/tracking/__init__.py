"""What is recorded: journals, the cell store, and MLflow as a view of them."""
