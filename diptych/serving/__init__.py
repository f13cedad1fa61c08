"""The serving runtime: what the three services share between a socket and a model.

It knows nothing of diffusion or of any one service. Construct its parts in a service's `build` and pass them in.
"""
