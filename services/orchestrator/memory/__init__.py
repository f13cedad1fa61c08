"""What is kept: conversations, and how long steps took."""
