"""What training needs to know of each problem: pure functions, one file a problem."""

from jaxseg.tasks.semantic import semantic

__all__ = ["semantic"]
