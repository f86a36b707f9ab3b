"""Messages on standard output and progress on standard error."""
