"""How good are models of tables? Tables of known truth, and scikit-learn's own, beside other programs."""
