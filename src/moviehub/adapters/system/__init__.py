"""What the operating system tells us."""
