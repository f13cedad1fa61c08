"""The editor: transforms pictures that exist, measures them, selects parts of them."""
