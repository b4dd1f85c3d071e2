"""Tokens, written as JSON Web Tokens."""
