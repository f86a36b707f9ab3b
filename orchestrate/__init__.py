"""Many logins on Airflow: the file of logins, the plan it leads to, and the DAGs."""
