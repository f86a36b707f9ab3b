"""The dbt package and the page."""
