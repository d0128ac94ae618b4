"""Everything to check on a machine with a GPU, in less than ten minutes: ``make gpu``."""
