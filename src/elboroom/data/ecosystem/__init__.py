"""Data in the objects of other libraries: AnnData, data sets of Hugging Face and of PyTorch.

None of these libraries is imported: an object is recognised by the module of its class.
"""
