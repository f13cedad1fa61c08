"""Stubs generated from `protos/diptych/v1` by `make protos`; a test holds them fresh."""
