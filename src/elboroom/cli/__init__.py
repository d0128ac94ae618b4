"""The command line: ``main`` reads it, ``commands`` does what its verbs say."""
