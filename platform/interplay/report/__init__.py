"""Tables: rows are pure functions of results, drawing comes after."""
