"""Questions and answers about proteins: generated from passages, checked, and written as a corpus."""
