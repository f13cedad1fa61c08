"""What works on pixels alone, whatever they show."""
