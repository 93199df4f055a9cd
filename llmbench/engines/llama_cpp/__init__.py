"""llama.cpp, through its own server as a library."""
