"""A page about a folder of data: what its card says and what its shards show."""
