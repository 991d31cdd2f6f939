"""Load on the pair and on its peers, side by side; README.md beside this says what each does."""
