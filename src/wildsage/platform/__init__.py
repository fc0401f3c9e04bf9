"""The control plane: jobs, models and endpoints as plain calls with boto3's names and shapes, remembered in SQL."""
