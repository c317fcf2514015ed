"""The client: connecting, redirects, credentials, proxies, reconnecting."""
