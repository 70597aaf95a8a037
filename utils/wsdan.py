"""`from utils.wsdan import training_losses`: the name that this function is known by outside."""

from utils.training.wsdan import training_losses

__all__ = ["training_losses"]
