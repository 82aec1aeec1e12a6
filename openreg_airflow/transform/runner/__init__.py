"""What runs inside the sandbox: it reads a request, calls the transform, sends tables back.

The package imports only the standard library, pyarrow and pandas, and nothing of the product
around it: it is copied alone into the sandbox image. It trusts nobody and is trusted by nobody;
the task that started it takes whatever it sends as data.
"""
