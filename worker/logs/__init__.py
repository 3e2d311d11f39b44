"""What runs print: made into lines, cleaned, masked, and shipped to the store."""
