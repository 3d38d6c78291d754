"""Engines that turn prompts and latents into text."""
