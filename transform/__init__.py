"""The dbt package, and the page that is built from it."""
