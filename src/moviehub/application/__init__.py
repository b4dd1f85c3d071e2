"""What people can do with the hub; orchestration only."""
