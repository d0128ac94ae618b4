"""The lowest versions that pyproject.toml allows, and what has to work with them."""
