"""Methods of others to compare with, beside those in `hspace_exp.methods` that share their parts with ours."""
