"""Readers: each splits a file into entries without trusting them, and turns one entry into one record."""
