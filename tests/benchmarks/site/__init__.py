"""A project as users deploy it: settings, URLs, and an application for each kind of server."""
