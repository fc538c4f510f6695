"""The provider's API, with the rates it allows and what its answers mean."""
