"""The options of the command line and of recipes, and the configurations they construct."""
