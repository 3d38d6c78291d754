"""Evaluation with controls, baselines and intervals."""
