"""What is true about films, people and opinions: values and rules; no I/O, no clock."""
