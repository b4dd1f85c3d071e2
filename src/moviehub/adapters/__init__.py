"""What stands behind the ports: one package a technology, and none knows another."""
