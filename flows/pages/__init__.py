"""Pages for people: one HTML file each, with their templates."""
