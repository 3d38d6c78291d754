"""The second entry point of every reader: what an entry says about its protein, as facts with their evidence."""
