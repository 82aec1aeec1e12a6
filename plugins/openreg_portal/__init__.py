"""The portal: views that regulatory work needs inside Airflow's UI."""
