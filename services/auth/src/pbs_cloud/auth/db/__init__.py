"""SQL of the auth service; every function runs in the transaction of the connection it gets."""
