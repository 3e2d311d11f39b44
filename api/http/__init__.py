"""What every request goes through, whoever's API it is for: routing, authentication, decoding, streams, errors."""
