"""What can be wrong with a recipe, or stop it."""

from __future__ import annotations

from llava_faba.errors import UserError


class RecipeError(UserError):
    """A recipe is malformed, something that it needs is missing, or a step of it failed."""
