"""The version of training's arithmetic. Importing this module imports no torch."""

__all__ = ["NUMERICS_VERSION"]

NUMERICS_VERSION = 1
"""Raised when the golden loss curve in tests/training/golden changes: runs of other versions are other trainings."""
