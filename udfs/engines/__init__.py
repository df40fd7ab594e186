"""Language models behind one interface: Arrow batches of requests in, Arrow batches of completions out.

base.py is what an engine of your own is made of, worker.py what runs an engine in a Spark worker, and each
family of engines has a folder.
"""
