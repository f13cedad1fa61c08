"""Stubs of the Open Inference Protocol, generated from `protos/diptych/inference` by `make protos`."""
