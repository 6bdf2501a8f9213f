"""The site: pages, alerts and viewers, made from tables and linked to the products in place."""
