"""The embedded world: drawing people and scenes, training and evaluating the models that ship with `hspace_exp`."""
