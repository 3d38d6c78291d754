"""Protein2Text: ask a protein in plain language."""

__version__ = "0.1.0"
