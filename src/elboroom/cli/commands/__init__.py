"""The verbs of the command line, one function each; what they print is for people."""
