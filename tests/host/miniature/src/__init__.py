"""A small host framework: the places that a plugin hooks into, and the defects that it has to survive."""
