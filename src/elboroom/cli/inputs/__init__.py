"""What verbs read: data, examples and image files that the user names, endpoints and models."""
