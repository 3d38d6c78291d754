"""Records: reading, checking, splitting and sharding proteins and their texts."""
