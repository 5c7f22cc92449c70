"""From a query to moments: query vectors, filters, ranking."""
