"""The HTTP layer of the native API and of every dialect: routing, authentication, decoding, streams, errors."""
