"""The page about the health of uploads, built from the models of the dbt package."""
