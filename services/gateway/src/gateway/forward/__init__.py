"""Step 4: the signed request to the private service, and its answer back."""
