"""Answers from characterised neighbours: facts with their sources, found by sequence similarity, without a model."""
