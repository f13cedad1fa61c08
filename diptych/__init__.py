"""diptych: self-hosted image generation and editing behind gRPC."""
