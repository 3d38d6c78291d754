"""Ray Serve deployments of a Protein2Text model."""
