"""The dashboard: what runs, waits and has ended in the background, for staff."""
