"""What can be done with one user's todos, as statements and the repository that runs them."""
