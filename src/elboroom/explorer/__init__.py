"""The explorer: one HTML page with a map of a model's codes and its networks, which the page runs itself.

The sources of the page itself are in ``web/explorer`` of the repository; ``page.html`` is built from them.
"""
