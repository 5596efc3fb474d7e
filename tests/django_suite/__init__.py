"""Django's own tests, run on Django's handler and on ours. No test may fail on ours only."""
