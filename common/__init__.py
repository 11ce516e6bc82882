"""What two or more stages share, and nothing else. No module in here imports a stage."""
