"""What is returned to the user."""
