"""The client: connecting, redirects, credentials, proxies, connecting again."""
