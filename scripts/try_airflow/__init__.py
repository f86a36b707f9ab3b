"""Tries the DAGs for real: Airflow, Meltano and Postgres against the mock API."""
