"""HTTP/1 read strictly, on uvicorn."""
