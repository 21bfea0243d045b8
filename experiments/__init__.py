"""Studies: one file a question. Each defines STUDY; its docstring states the claim, the cost, what to expect and the command."""
