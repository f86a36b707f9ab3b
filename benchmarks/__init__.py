"""Measurements of the tap beside a plain SDK tap."""
