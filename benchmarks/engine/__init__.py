"""Speed, start-up and memory of elboroom beside other programs and beside the machine's own limits.

Run it with ``python -m benchmarks.engine``; ``benchmarks/README.md`` says what is measured and how.
"""
