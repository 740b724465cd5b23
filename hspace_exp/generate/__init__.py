"""``python -m hspace_exp.generate``: images of one prompt, steered by concept files, beside their unedited twins."""
