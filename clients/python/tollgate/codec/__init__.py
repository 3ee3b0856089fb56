"""The protocol's bytes, and nothing that does I/O or keeps time. See `proto/README.md` of the project."""
