"""Step 4: sends the signed request to the private service, and its response back."""
