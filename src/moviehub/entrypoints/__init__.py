"""The ways into the hub: HTTP, the command line, and a harness for anybody's tests."""
