"""Pictures in the manner of others."""
