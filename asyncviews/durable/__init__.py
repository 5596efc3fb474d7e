"""Tasks in the project's database, which outlive the process that runs them."""
