"""Tables, plots and the live line on a terminal."""
