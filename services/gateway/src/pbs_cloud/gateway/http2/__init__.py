"""HTTP/2 of the sessions, without IO: bytes in, requests out; answers in, bytes out (wire-protocol 4.4, RFC 9113).

DATA goes straight into the buffers of the request's body; everything else is small and parsed here.
"""
