"""What the workers share for a while, in Redis or Valkey."""
