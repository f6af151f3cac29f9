"""Full runs of the experiments: `python -m experiments` makes results/*.json and the page in docs; see `sociogram grow`."""
