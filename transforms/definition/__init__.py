"""The import definition: what it may say, what is wrong with it, and a first draft."""
