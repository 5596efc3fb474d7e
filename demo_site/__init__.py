"""The site of the article "Async Views in Django 3.1", built with `asyncviews`.

Start reading at views.py, which has the endpoints; tasks.py is what they do in the background,
schemas.py what they read from a query. orders.py has generic views, of the model in models.py. ``python -m demo_site`` is the project's manage.py.
"""
