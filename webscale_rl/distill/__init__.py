"""Hands a step of a large model to a small one: a LoRA adapter from the replies that the tables keep."""
