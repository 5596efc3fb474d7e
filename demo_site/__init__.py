"""The site of the article "Async Views in Django 3.1", built with `asyncviews`.

Start reading at views.py, which has the front page and the article's endpoints; tasks.py is what they
do in the background, schemas.py what they read from a query. batches.py is a typed API with an event
stream, orders.py has generic views; both are of the models in models.py. ``python -m demo_site`` is
the project's manage.py.
"""
