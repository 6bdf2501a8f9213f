"""The stages of the reduction: each a function of a context and inputs, behind one command."""
