"""What is one pipeline's own, a package each; pipelines do not know each other."""
