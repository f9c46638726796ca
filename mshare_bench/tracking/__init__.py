"""What is kept of a sweep in MLflow; `tracking.mlflow` and `tracking.server` are the only modules that know MLflow."""
