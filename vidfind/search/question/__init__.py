"""The subject of a search and its filters, as a user gives them."""
