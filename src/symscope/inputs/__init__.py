"""The user's data as checked batches.

stream   one tensor or any iterable, batch by batch, each sample beside others for the control
samples  data of several parts: what moves, what all share, which points are there
files    tensors in files; nothing is unpickled
"""
