"""Acts: everything that touches disk, network, database, clock or Prefect.

What decides is in `transforms`; this package passes it values and carries out its
answers.
"""
