"""The query service: a Ray Serve application, its schemas, and what guards it."""
