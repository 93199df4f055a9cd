"""One self-contained HTML page: its tables, plots and blocks, and the file it becomes."""
