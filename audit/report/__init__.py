"""The reports: a view of what became of every record (``view``), and the files rendered from it (``render``)."""
