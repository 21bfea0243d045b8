"""Studies: one file a question. Each defines STUDY; its docstring states claim, cost, expectation and command."""
