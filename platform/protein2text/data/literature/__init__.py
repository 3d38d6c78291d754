"""Literature: articles of PubMed Central, and which proteins their abstracts name."""
