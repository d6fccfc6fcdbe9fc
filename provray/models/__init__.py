"""From a checkpoint on disk to a model that can be probed, without running anything the checkpoint
brings along.

`open_checkpoint` checks the files, `load_model` builds one of transformers' own classes from an
allow-list and returns a `ProbedModel`: the only view of a model that fingerprints see.
"""
