"""Real packages, each with its documented settings in a site of its own, under both handlers.

A site is a module in ``sites``: settings, URLs, and what a visitor does there. `serving` is the process
of a site; what a visitor gets under Django's own handler is what every visitor has to get under ours.
"""
